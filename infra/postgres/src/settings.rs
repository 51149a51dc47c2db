//! Settings of `initdb` and the server. A cluster for tests gives up some durability.

use std::{ffi::OsString, path::Path};

use super::{PORT, SUPERUSER};

/// The purpose of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Data survives everything except the loss of the disk.
    Persistent,
    /// Data is removed with the test process. Committed data survives a killed server, but not a power
    /// failure.
    Test,
}

/// Arguments of `initdb`, except the folder. None contains a space, because a shell splits them.
pub(super) fn initdb(purpose: Purpose) -> Vec<String> {
    let mut arguments = vec![
        format!("--username={SUPERUSER}"),
        // Only the server's user and root can enter the socket's folder, and both can read the data
        // anyway.
        "--auth-local=trust".to_owned(),
        // Even if the server were made to listen on the network, no client could log in.
        "--auth-host=reject".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C".to_owned(),
    ];
    if purpose == Purpose::Test {
        arguments.push("--no-sync".to_owned());
    }
    arguments
}

/// Arguments of the server. Settings are on the command line rather than in a file, so that a
/// persistent cluster gets those of the program that starts it, not of the one that created it.
pub(super) fn server(purpose: Purpose, data: &Path, socket_directory: &Path) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("-D"), data.into()];
    let mut set = |name: &str, value: OsString| {
        let mut argument = OsString::from(name);
        argument.push("=");
        argument.push(value);
        arguments.extend(["-c".into(), argument]);
    };
    // No network connections, not even from this machine, so no password has to be kept.
    set("listen_addresses", "".into());
    set("unix_socket_directories", socket_directory.into());
    set("unix_socket_permissions", "0700".into());
    set("port", PORT.to_string().into());
    set("max_connections", "200".into());
    set("timezone", "UTC".into());
    set("log_timezone", "UTC".into());
    set("log_destination", "stderr".into());
    set("logging_collector", "off".into());
    // Statements and rows stay out of the log: they may contain addresses and tokens.
    set("log_min_error_statement", "panic".into());
    set("log_error_verbosity", "terse".into());
    let (durable, buffers) = match purpose {
        // Memory is used only as pages are read, so little data uses little. Reconciliation looks up
        // the rows of a bucket all over two tables, and each page that is missing here costs a copy.
        Purpose::Persistent => ("on", "1GB"),
        Purpose::Test => ("off", "64MB"),
    };
    set("fsync", durable.into());
    set("full_page_writes", durable.into());
    // On for tests too: without it a killed server loses committed data.
    set("synchronous_commit", "on".into());
    set("shared_buffers", buffers.into());
    if purpose == Purpose::Test {
        // The cluster may be in memory.
        set("max_wal_size", "256MB".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_durable_and_offline() {
        for purpose in [Purpose::Persistent, Purpose::Test] {
            let arguments = server(purpose, Path::new("/d"), Path::new("/d/run"));
            let has = |argument: &str| arguments.iter().any(|have| have == argument);
            assert!(has("listen_addresses=") && has("synchronous_commit=on"));
            assert_eq!(
                has("fsync=on") && has("full_page_writes=on"),
                purpose == Purpose::Persistent
            );
            // A new cluster is on the disk before it is moved into place.
            let is_test = purpose == Purpose::Test;
            assert_eq!(initdb(purpose).contains(&"--no-sync".to_owned()), is_test);
            assert_eq!(has("fsync=off") && has("full_page_writes=off"), is_test);
            assert!(has("unix_socket_permissions=0700"));
            assert!(has("log_error_verbosity=terse") && has("log_min_error_statement=panic"));
            assert!(initdb(purpose).iter().all(|argument| !argument.contains(' ')));
            assert!(initdb(purpose).contains(&"--auth-host=reject".to_owned()));
        }
    }
}
