//! Simulation of the core path under faults, with real stores and real handlers. A seed or a list
//! decides which faults occur between them.
//!
//! Each simulated process runs on its own thread and can be held or killed at any failpoint between two
//! effects. Only one operation moves at a time, except for those that wait for a held one, so that a
//! seed almost always repeats the same run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]

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
