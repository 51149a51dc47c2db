//! The core path under faults: real stores, real handlers, and a seed or a list that decides what
//! goes wrong between them.
//!
//! Each process of a simulated world runs on a thread of its own and can be held at, or ended at,
//! any point between two effects. One operation moves at a time, but for those that wait for one that
//! is held, so that a seed does the same nearly each time.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod cases;
mod checks;
mod converge;
mod crashes;
mod flood;
mod model;
mod operation;
mod points;
mod process;
mod simulation;
mod store_errors;
mod subsets;
