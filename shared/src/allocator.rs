//! The allocator of every binary.
//!
//! Memory here is mostly taken by one thread and given back by another, as requests move between
//! them: the C library's allocator locks for that, and spent a quarter of the time of a page of
//! listings (`docs/decisions/0011`).

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
