//! The places in which PostgreSQL's programs are searched for.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The places to search for PostgreSQL's programs.
#[derive(Debug, Clone)]
pub struct Search {
    /// The directory that contains `initdb` and `postgres`. If set, no other place is searched.
    pub explicit: Option<PathBuf>,
    /// Directories in the format of `PATH`, searched before the usual places.
    pub path: Option<OsString>,
    /// Root of the usual places and package managers: `/`, or an empty folder in a test that hides
    /// them.
    pub root: PathBuf,
}

impl Default for Search {
    /// Only the usual places of this machine.
    fn default() -> Self {
        Self { explicit: None, path: None, root: PathBuf::from("/") }
    }
}

/// Resolves an executable program in a directory.
pub(super) fn program(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = fs::canonicalize(directory.join(name)).ok()?;
    let metadata = fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
}
