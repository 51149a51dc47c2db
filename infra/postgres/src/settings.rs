//! What the programs are told: the same for every cluster, but for what a test may do without.

use std::{ffi::OsString, path::Path};

use super::{PORT, SUPERUSER};

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its data outlives everything but the disk.
    Kept,
    /// Its data goes with the test process. What is committed outlives a killed server, but not a
    /// power cut.
    Test,
}

/// What `initdb` is told besides the folder. No word has a space in it: a shell splits them.
pub(super) fn initdb(purpose: Purpose) -> Vec<String> {
    let mut words = vec![
        format!("--username={SUPERUSER}"),
        // Who can enter the socket's folder is the server's user or root, and has the data anyway.
        "--auth-local=trust".to_owned(),
        // Should anybody make the server listen on the network, nobody gets in.
        "--auth-host=reject".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C".to_owned(),
    ];
    if purpose == Purpose::Test {
        words.push("--no-sync".to_owned());
    }
    words
}

/// What the server is told. It goes on the command line and not into a file, so that a kept cluster
/// gets the settings of the program that starts it and not of the one that made it.
pub(super) fn server(purpose: Purpose, data: &Path, socket_directory: &Path) -> Vec<OsString> {
    let mut words = vec![OsString::from("-D"), data.into()];
    let mut set = |name: &str, value: OsString| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        words.extend(["-c".into(), word]);
    };
    // Nobody comes over the network, not even from this machine: no password has to be kept
    // anywhere.
    set("listen_addresses", "".into());
    set("unix_socket_directories", socket_directory.into());
    set("unix_socket_permissions", "0700".into());
    set("port", PORT.to_string().into());
    set("max_connections", "200".into());
    set("timezone", "UTC".into());
    set("log_timezone", "UTC".into());
    set("log_destination", "stderr".into());
    set("logging_collector", "off".into());
    // The log gets neither statements nor the rows in them: they may hold addresses and tokens.
    set("log_min_error_statement", "panic".into());
    set("log_error_verbosity", "terse".into());
    let (durable, buffers) = match purpose {
        // Taken bit by bit, by as many pages as there are: so few data take little. Reconciliation looks
        // up the rows of a bucket all over two tables, and what is not here it has to copy each time.
        Purpose::Kept => ("on", "1GB"),
        Purpose::Test => ("off", "64MB"),
    };
    set("fsync", durable.into());
    set("full_page_writes", durable.into());
    // On for tests too: without it a killed server forgets what it said it had committed.
    set("synchronous_commit", "on".into());
    set("shared_buffers", buffers.into());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_cluster_is_durable_and_none_listens_on_the_network() {
        for purpose in [Purpose::Kept, Purpose::Test] {
            let words = server(purpose, Path::new("/d"), Path::new("/d/run"));
            let has = |word: &str| words.iter().any(|have| have == word);
            assert!(has("listen_addresses=") && has("synchronous_commit=on"));
            assert_eq!(has("fsync=on") && has("full_page_writes=on"), purpose == Purpose::Kept);
            assert!(initdb(purpose).iter().all(|word| !word.contains(' ')));
            assert!(initdb(purpose).contains(&"--auth-host=reject".to_owned()));
        }
    }
}
