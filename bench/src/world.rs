//! What every goal is measured in.

use std::path::PathBuf;

use local_postgres::Search;
use shared::config::Settings;
use tempfile::TempDir;

use crate::watch::Watch;

/// How thorough a run is, and where its things lie.
#[derive(Debug)]
pub(crate) struct World {
    /// Each with the ceiling and ours, one after the other.
    pub(crate) rounds: u32,
    /// Of each side of a round.
    pub(crate) seconds: u64,
    /// Whether the whole run must be over in three minutes.
    pub(crate) quick: bool,
    /// Where snapshots are kept between runs.
    pub(crate) cache: PathBuf,
    pub(crate) postgres: Search,
    pub(crate) watch: Watch,
    temporary: TempDir,
}

impl World {
    pub(crate) fn new(
        (rounds, seconds, quick): (u32, u64, bool),
        cache: PathBuf,
        settings: &Settings,
        watch: Watch,
    ) -> anyhow::Result<Self> {
        let postgres = Search {
            explicit: settings.text("VITRINA_POSTGRES_BIN").map(Into::into),
            path: settings.text("PATH").map(Into::into),
            ..Search::default()
        };
        let temporary = tempfile::Builder::new().prefix("vitrina-bench-").tempdir()?;
        // PostgreSQL may have to run as another user, who must get through.
        open_to_pass(temporary.path())?;
        Ok(Self { rounds, seconds, quick, cache, postgres, watch, temporary })
    }

    /// The numbers of products that scaling is measured at, the least first.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        if self.quick { vec![10_000, 100_000] } else { vec![10_000, 100_000, 1_000_000] }
    }

    /// A new folder, which goes with the value.
    pub(crate) fn folder(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("e").tempdir_in(self.temporary.path())?;
        open_to_pass(folder.path())?;
        Ok(folder)
    }
}

/// Lets everybody pass through a folder, who knows the name of what is in it.
pub(crate) fn open_to_pass(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
}
