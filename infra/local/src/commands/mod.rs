//! The commands of `vitrina`, one module each.

mod arguments;
mod dlq;
mod doctor;
pub mod import;
pub mod load;
mod seed;
mod status;
mod sync;
mod token;
mod trace;
mod up;

pub use arguments::{Cli, run};
