//! Creates a cluster atomically: afterwards it exists completely or not at all.

use std::{fs, path::Path, thread};

use super::{
    Error, POLL_INTERVAL,
    binaries::Binaries,
    home::Home,
    log::Log,
    settings::{self, Purpose},
};

/// Creates the cluster of `home` in a staging folder and renames it. If this process is killed in
/// between, the next start begins again. Polls `is_cancelled`. Blocks for about a second.
pub(super) fn create_cluster(
    home: &Home,
    binaries: &Binaries,
    log: &Log,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let staging = home.staging_folder()?;
    let created = run(&staging, home, binaries, log, is_cancelled)
        .and_then(|()| home.move_into_place(&staging));
    if created.is_err() {
        // The next start removes leftovers.
        fs::remove_dir_all(&staging).ok();
    }
    created
}

fn run(
    staging: &Path,
    home: &Home,
    binaries: &Binaries,
    log: &Log,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let (file, from) = log.open()?;
    let second = file.try_clone().map_err(Error::files("opening the log", home.log()))?;
    let refused = |source| home.account().refused(&binaries.initdb, source);
    let mut child = home
        .account()
        .command(&binaries.initdb)
        .arg("-D")
        .arg(staging)
        .args(settings::initdb(Purpose::Persistent))
        .stdout(file)
        .stderr(second)
        .spawn()
        .map_err(refused)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(refused)? {
            break status;
        }
        if is_cancelled() {
            child.kill().and_then(|()| child.wait()).map_err(refused)?;
            return Err(Error::Cancelled);
        }
        thread::sleep(POLL_INTERVAL);
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Initdb { directory: home.data(), status: status.to_string(), log: log.tail(from) })
}
