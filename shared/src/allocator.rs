//! The allocator of every binary.
//!
//! Requests move between threads, so memory is mostly allocated by one thread and freed by another.
//! The allocator of the C library locks in that case and took a quarter of the time of a page of
//! listings (`docs/decisions/0011`).

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
