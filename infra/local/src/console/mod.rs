//! What every command shares: global arguments, output, progress and exit codes.

pub mod exit;
pub mod global;
pub mod output;
pub mod progress;
