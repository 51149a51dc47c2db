//! A private PostgreSQL server, run as a child of this process.
//!
//! [`Cluster`] keeps its data: whatever the last process did to it (stopped it, was killed, crashed
//! the machine in the middle of making it), the next start ends with a server that answers, on the
//! same data. [`Ephemeral`] keeps nothing: it is for tests and goes with the process, however that
//! ends.
//!
//! Both listen on a unix socket in a folder that only the user of the server (and root) can enter,
//! and on no network address: no other user of the machine gets in, and there is no password. As
//! PostgreSQL refuses to run as root, root lends the server to the user `postgres`, or `nobody`.
//! Unix only.
//!
//! ```text
//! binaries    where the programs are     obtain      how to get them
//! account     who runs them              settings    what they are told
//! home        the folder and its parts   socket      where connections come in
//! initdb      making a cluster           start       from any state to a server that answers
//! postmaster  pid file, proof, signals   probe       does it take connections
//! server      one process, watched       log         its log
//! cluster     the kept one               ephemeral   the one for tests
//! ```

mod account;
mod binaries;
mod cluster;
mod ephemeral;
mod error;
mod home;
mod initdb;
mod location;
mod log;
mod obtain;
mod postmaster;
mod probe;
mod search;
mod server;
mod settings;
mod socket;
mod start;
#[cfg(test)]
mod tests;

use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path, time::Duration};

pub use binaries::Binaries;
pub use cluster::Cluster;
pub use ephemeral::Ephemeral;
pub use error::Error;
pub use location::made_by;
pub use search::Search;
pub use server::Exit;
pub use start::{Progress, StartOptions};

/// The user of the database that everything belongs to.
const SUPERUSER: &str = "vitrina";
/// No port is opened; the number is part of the socket's name.
const PORT: u16 = 5432;
/// Pause between two looks at a process or a file.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The address of `database` on the server that runs on the data folder `directory` (what was
/// [`StartOptions::directory`]), if one does and takes connections. Starts nothing and takes nothing
/// over.
///
/// # Errors
///
/// [`Error::Files`] when this user cannot look into the folder.
pub fn find_running(directory: &Path, database: &str) -> Result<Option<String>, Error> {
    let data = location::data_of(directory)?;
    let Some(file) = postmaster::PidFile::read(&data)? else {
        return Ok(None);
    };
    let data = data.canonicalize().map_err(Error::files("finding", &data))?;
    let runs = file.ready && postmaster::is_server_of(file.pid, &data)?;
    Ok(file
        .socket_directory
        .filter(|_| runs)
        .map(|socket_directory| url(&socket_directory, database)))
}

/// The host is only there because the address needs one: what follows as `host` is what counts. The
/// port is named lest the environment supply another, and encryption is refused as the socket has
/// none.
fn url(socket_directory: &Path, database: &str) -> String {
    let database = encoded(database.as_bytes());
    let directory = encoded(socket_directory.as_os_str().as_bytes());
    format!("postgres://{SUPERUSER}@localhost:{PORT}/{database}?host={directory}&sslmode=disable")
}

fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            write!(text, "%{byte:02X}").ok();
        }
        text
    })
}
