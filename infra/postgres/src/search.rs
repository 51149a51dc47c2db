//! Where PostgreSQL's programs are looked for.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Where to look for PostgreSQL's programs.
#[derive(Debug, Clone)]
pub struct Search {
    /// The directory that holds `initdb` and `postgres`, when somebody has named it: then nothing
    /// else counts.
    pub explicit: Option<PathBuf>,
    /// Directories as in the variable PATH, looked at before the usual places.
    pub path: Option<OsString>,
    /// What the usual places and the package managers are looked for beneath: `/`, or an empty
    /// folder in a test that hides them.
    pub root: PathBuf,
}

impl Default for Search {
    /// The usual places of this machine and nothing else.
    fn default() -> Self {
        Self { explicit: None, path: None, root: PathBuf::from("/") }
    }
}

/// A program in a directory, where it really is.
pub(super) fn program(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = fs::canonicalize(directory.join(name)).ok()?;
    let metadata = fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
}
