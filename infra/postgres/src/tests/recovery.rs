//! Starts after killed processes.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    time::Duration,
};

use super::{
    super::{Cluster, Error, StartOptions, account::Account, postmaster::PidFile},
    accessible_folder, binaries, query, runs, start,
    support::{Client, Owner, Stopped, eventually, signal},
};

#[tokio::test]
async fn orphaned_server_is_adopted() {
    let base = accessible_folder();
    let mut owner = Owner::start("cluster", base.path());
    let pid = owner.pid;
    let error = Cluster::start(StartOptions::new(base.path(), binaries())).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    owner.kill();

    let data = fs::canonicalize(base.path()).unwrap().join("data");
    assert!(runs(pid, &data), "it outlives its parent");
    let cluster = start(base.path()).await;
    assert_eq!(cluster.pid(), pid);
    assert_eq!(query(&cluster, "select 1"), ["1"]);
    cluster.stop().await.unwrap();
    assert!(!runs(pid, &data));
    assert!(!cluster.is_alive());
    drop(cluster);
    assert_ne!(start(base.path()).await.pid(), pid);
}

#[tokio::test]
async fn adopted_server_that_cannot_be_looked_at_is_alive() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let pid = cluster.pid();
    cluster.drop_without_stopping();
    // It adopts the server, and looks at it while it cannot open a file.
    let mut owner = Owner::start("without files", base.path());
    assert_eq!(owner.pid, pid);
    owner.kill();
    assert_eq!(start(base.path()).await.pid(), pid);
}

#[tokio::test]
async fn unresponsive_orphaned_server_is_replaced() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    let pid = cluster.pid();
    cluster.drop_without_stopping();
    signal("STOP", pid);
    let mut options = StartOptions::new(base.path(), binaries());
    options.shorten_timeouts();
    let cluster = Cluster::start(options).await.unwrap();
    assert_ne!(cluster.pid(), pid);
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
}

#[tokio::test]
async fn recovering_orphaned_server_is_left_alone_until_it_is_ready() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    let data = cluster.data_directory();
    cluster.stop().await.unwrap();
    drop(cluster);
    // A standby without readers recovers until it is promoted.
    let owner = fs::metadata(&data).unwrap();
    fs::write(data.join("postgresql.auto.conf"), "hot_standby = off\n").unwrap();
    fs::write(data.join("standby.signal"), "").unwrap();
    for file in ["postgresql.auto.conf", "standby.signal"] {
        chown(data.join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let server = || PidFile::read(&data).unwrap().unwrap().pid;
    let begin = async |silence, ready| {
        let mut options = StartOptions::new(base.path(), binaries());
        options.set_patience(silence, ready);
        Cluster::start(options).await.unwrap_err()
    };
    // Real time: on a busy machine, the server may not respond within the first seconds, and is replaced.
    let mut silence = Duration::from_secs(1);
    while matches!(begin(silence, silence).await, Error::Silent { .. }) {
        silence *= 2;
    }
    let pid = loop {
        let pid = server();
        // It responds all the time, for longer than an adopted server may be silent.
        let error = begin(silence * 5, silence * 6).await;
        if !matches!(error, Error::Silent { .. }) {
            assert!(matches!(error, Error::StillRecovering { .. }), "{error}");
            break pid;
        }
        silence *= 2;
    };
    assert_eq!(server(), pid, "it was stopped, and its recovery began again");
    fs::write(data.join("promote"), "").unwrap();
    signal("USR1", pid);
    let cluster = start(base.path()).await;
    assert_eq!(cluster.pid(), pid);
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
}

#[tokio::test]
async fn killed_server_is_noticed_and_recovers_commits() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    // A stopped child process of the killed server holds shared memory. No other server may start before
    // it ends.
    let mut client = Client::connect(&cluster.url("postgres"));
    let child = client.query("select pg_backend_pid()")[0].parse().unwrap();
    let child = Stopped::new(child);
    let pid = cluster.pid();
    signal("KILL", pid);
    let exit = cluster.wait().await;
    assert!(exit.status.is_some_and(|status| !status.success()), "{exit}");
    assert!(!cluster.is_alive());
    let log = cluster.log_file();
    drop(cluster);
    let (cluster, ()) = tokio::join!(start(base.path()), async {
        eventually("the child process is in the way of a server", || {
            fs::read_to_string(&log).unwrap().contains("shared memory block")
        });
        drop(child);
    });
    assert_ne!(cluster.pid(), pid);
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
}

#[tokio::test]
async fn stale_pid_file_with_a_reused_pid_is_accepted() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let file = cluster.data_directory().join("postmaster.pid");
    let socket_file = base.path().join("run/.s.PGSQL.5432.lock");
    let files = [file, socket_file].map(|path| (fs::read_to_string(&path).unwrap(), path));
    let owner = fs::metadata(&files[0].1).unwrap();
    cluster.stop().await.unwrap();
    drop(cluster);
    // Only a process of the same user keeps PostgreSQL from starting.
    let account = Account::choose().unwrap();
    let mut other = account.command(Path::new("/bin/sleep")).arg("60").spawn().unwrap();
    for (text, path) in files {
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(&path, format!("{}\n{rest}", other.id())).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let cluster = start(base.path()).await;
    assert_eq!(query(&cluster, "select 1"), ["1"]);
    assert!(other.try_wait().unwrap().is_none(), "the other process was left alone");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn start_killed_during_initdb_is_recovered() {
    let base = accessible_folder();
    let mut owner = Owner::start("creating", base.path());
    let begun = || {
        let mut entries = fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.any(|path| path.join("PG_VERSION").exists())
    };
    eventually("initdb is at work", begun);
    owner.kill();
    assert_eq!(query(&start(base.path()).await, "select 1"), ["1"]);
    let unfinished = fs::read_dir(base.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("data.new-")
    });
    assert_eq!(unfinished.count(), 0, "the unfinished cluster is removed");
}

#[tokio::test]
async fn empty_pid_file_is_removed() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let file = cluster.data_directory().join("postmaster.pid");
    drop(cluster);
    fs::write(&file, "").unwrap();
    assert_eq!(query(&start(base.path()).await, "select 1"), ["1"]);
}
