//! The setup that all goals of a run share.

use std::path::PathBuf;

use local_postgres::Search;
use shared::config::Settings;
use tempfile::TempDir;

use crate::progress::Progress;

/// The length of a run, and its folders.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Each measures the ceiling, then Vitrina.
    pub(crate) rounds: u32,
    /// For each side of a round.
    pub(crate) seconds: u64,
    /// Whether the whole run must end within three minutes.
    pub(crate) quick: bool,
    /// The folder that keeps snapshots between runs.
    pub(crate) cache: PathBuf,
    pub(crate) postgres: Search,
    pub(crate) progress: Progress,
    temporary: TempDir,
}

impl Setup {
    pub(crate) fn new(
        (rounds, seconds, quick): (u32, u64, bool),
        cache: PathBuf,
        settings: &Settings,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let postgres = Search {
            explicit: settings.text("VITRINA_POSTGRES_BIN").map(Into::into),
            path: settings.text("PATH").map(Into::into),
            ..Search::default()
        };
        let temporary = tempfile::Builder::new().prefix("vitrina-bench-").tempdir()?;
        // PostgreSQL may run as another user, which must be able to enter the folder.
        allow_traversal(temporary.path())?;
        Ok(Self { rounds, seconds, quick, cache, postgres, progress, temporary })
    }

    /// The numbers of products for scaling, in ascending order.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        if self.quick { vec![10_000, 100_000] } else { vec![10_000, 100_000, 1_000_000] }
    }

    /// A new temporary folder. Dropping the value removes it.
    pub(crate) fn folder(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("e").tempdir_in(self.temporary.path())?;
        allow_traversal(folder.path())?;
        Ok(folder)
    }
}

/// Lets every user traverse a folder without listing it.
pub(crate) fn allow_traversal(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
}
