//! Runs a private PostgreSQL server as a child of this process.
//!
//! [`Cluster`] keeps its data. Whatever happened to the last process (a stop, a kill, a machine crash
//! during creation), the next start succeeds on the same data. [`Ephemeral`] is for tests and is
//! removed when the process ends, in whatever way.
//!
//! Both listen only on a Unix socket in a folder that only the user of the server and root can enter,
//! so no other user can connect and no password is needed. PostgreSQL refuses to run as root, so root
//! starts it as user `postgres` or `nobody`. Unix only.
//!
//! ```text
//! search      places to search           binaries    programs of an installation
//! account     user of the server         obtain      how to install them
//! home        data folder and its parts  location    recorded location of the data
//! initdb      creating a cluster         settings    settings of the server
//! start       from any state to running  server      one server process
//! postmaster  pid file and signals       probe       whether it accepts connections
//! socket      folder of the socket       log         log of the server
//! cluster     the persistent cluster     ephemeral   the cluster for tests
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
mod memory;
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
pub use location::major_version_of;
pub use search::Search;
pub use server::Exit;
pub use start::{Progress, StartOptions};

/// The database user that owns everything.
const SUPERUSER: &str = "vitrina";
/// Part of the name of the socket; no port is opened.
const PORT: u16 = 5432;
/// Pause between two checks of a process or file.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The URL of `database` on the server that runs on the data folder `directory` (its
/// [`StartOptions::directory`]), if one runs and accepts connections. Starts and adopts nothing.
///
/// # Errors
///
/// [`Error::Files`] if this user cannot read the folder.
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

/// A URL needs a host, but the `host` parameter overrides it. The port is explicit so that the
/// environment cannot change it, and TLS is off because Unix sockets have none.
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
