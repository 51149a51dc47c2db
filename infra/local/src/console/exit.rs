//! Exit codes. 2, wrong usage, is clap's own.

/// It did what it was asked to.
pub const OK: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// Differences or dead letters were found.
pub const FOUND: u8 = 3;
/// No edition runs on the data folder.
pub const NOT_RUNNING: u8 = 4;
