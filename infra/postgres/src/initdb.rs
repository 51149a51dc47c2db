//! Making a cluster, so that it is there whole or not at all.

use std::{fs, path::Path, thread};

use super::{
    Error, POLL_INTERVAL,
    binaries::Binaries,
    home::Home,
    log::Log,
    settings::{self, Purpose},
};

/// Makes the cluster of `home`. It is made beside its place and then renamed: killed in the middle,
/// the next start begins anew. `called_off` is asked again and again. Blocks for a second or so.
pub(super) fn make(
    home: &Home,
    binaries: &Binaries,
    log: &Log,
    called_off: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let workshop = home.workshop()?;
    let made =
        run(&workshop, home, binaries, log, called_off).and_then(|()| home.move_in(&workshop));
    if made.is_err() {
        // What stays is removed by the next start.
        fs::remove_dir_all(&workshop).ok();
    }
    made
}

fn run(
    workshop: &Path,
    home: &Home,
    binaries: &Binaries,
    log: &Log,
    called_off: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let (file, from) = log.open()?;
    let second = file.try_clone().map_err(Error::files("opening the log", home.log()))?;
    let refused = |source| home.account().refused(&binaries.initdb, source);
    let mut child = home
        .account()
        .command(&binaries.initdb)
        .arg("-D")
        .arg(workshop)
        .args(settings::initdb(Purpose::Kept))
        .stdout(file)
        .stderr(second)
        .spawn()
        .map_err(refused)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(refused)? {
            break status;
        }
        if called_off() {
            child.kill().and_then(|()| child.wait()).map_err(refused)?;
            return Err(Error::CalledOff);
        }
        thread::sleep(POLL_INTERVAL);
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Initdb { directory: home.data(), status: status.to_string(), log: log.tail(from) })
}
