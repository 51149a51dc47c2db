//! The commands of `vitrina`, one module each.

mod arguments;
mod dlq;
pub mod doctor;
pub mod import;
pub mod load;
pub mod seed;
mod status;
mod sync;
pub mod token;
mod trace;
mod up;

pub use arguments::{Cli, run};
