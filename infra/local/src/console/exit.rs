//! Exit codes. clap itself exits with 2 on wrong usage.

/// The command succeeded.
pub const OK: u8 = 0;
/// The command failed.
pub const FAILED: u8 = 1;
/// Differences or dead letters were found.
pub(crate) const FOUND: u8 = 3;
/// No edition runs on the data folder.
pub(crate) const NOT_RUNNING: u8 = 4;
