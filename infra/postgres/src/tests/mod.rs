//! The whole crate, against real servers.

mod ephemeral;
mod recovery;
mod support;

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Binaries, Cluster, Ephemeral, Error, Progress, Search, StartOptions, account::Account,
    binaries::tests::put, postmaster, server::StopTimeouts, url,
};
use support::{Client, OWNER_PREFIX, eventually, group, servers, signal, socket_directory};

/// A temporary folder that the user of the server can enter.
pub(super) fn accessible_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn binaries() -> Binaries {
    Binaries::find(&Search::default()).unwrap()
}

async fn start(folder: &Path) -> Cluster {
    Cluster::start(StartOptions::new(folder, binaries())).await.unwrap()
}

fn runs(pid: u32, data: &Path) -> bool {
    postmaster::is_server_of(pid, data).unwrap()
}

/// An installation whose `initdb` is `script`.
fn fake(directory: &Path, script: &str) -> Search {
    put(directory, "initdb", script);
    put(directory, "postgres", "echo 'postgres (PostgreSQL) 15.1'");
    Search { explicit: Some(directory.to_owned()), ..Search::default() }
}

/// An installation whose `initdb` begins a cluster and works on it until the cluster is removed.
fn endless_initdb(base: &Path) -> Search {
    let directory = base.join("installation");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "echo 15 > \"$2/PG_VERSION\"; while [ -e \"$2/PG_VERSION\" ]; do sleep 0.1; done";
    fake(&directory, script)
}

fn query(cluster: &Cluster, sql: &str) -> Vec<String> {
    Client::connect(&cluster.url("postgres")).query(sql)
}

#[tokio::test]
async fn cluster_keeps_its_data_over_a_restart() {
    let base = accessible_folder();
    let folder = base.path().join("pg");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut options = StartOptions::new(&folder, binaries());
    let log = Arc::clone(&seen);
    options.on_progress = Some(Box::new(move |progress| {
        // Reported only if the server takes longer than a second.
        if !matches!(progress, Progress::Waiting { .. }) {
            log.lock().unwrap().push(progress);
        }
    }));
    let cluster = Cluster::start(options).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [Progress::Creating, Progress::Starting, Progress::Ready]);
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    let pid = cluster.pid();
    assert!(cluster.is_alive() && runs(pid, &cluster.data_directory()));
    assert_ne!(group(pid), group(std::process::id()), "a Ctrl-C for us must not reach it");
    cluster.stop().await.unwrap();
    assert!(!cluster.is_alive() && !runs(pid, &cluster.data_directory()));
    assert!(cluster.wait().await.status.unwrap().success());
    cluster.stop().await.unwrap();
    drop(cluster);
    let cluster = start(&folder).await;
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
}

#[tokio::test]
async fn server_is_durable_and_closed_to_other_users() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let mut client = Client::connect(&cluster.url("postgres"));
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("max_connections", "200"),
        ("shared_buffers", "1GB"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
    ] {
        assert_eq!(client.query(&format!("show {setting}")), [value], "{setting}");
    }
    let collation = "select datcollate from pg_database where datname = 'postgres'";
    assert_eq!(client.query(collation), ["C"]);
    let run = fs::metadata(base.path().join("run")).unwrap();
    let data = fs::metadata(cluster.data_directory()).unwrap();
    assert_eq!(run.permissions().mode() & 0o777, 0o700);
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
    let log = fs::metadata(cluster.log_file()).unwrap();
    assert_eq!(log.permissions().mode() & 0o777, 0o600);
    assert_eq!(run.uid(), data.uid());
    assert_ne!(data.uid(), 0, "the server never runs as root");
}

#[tokio::test]
async fn log_has_errors_without_rows_or_statements() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    query(
        &cluster,
        "create table kept (email text unique); insert into kept values ('ana@vitrina')",
    );
    let client = Client::connect(&cluster.url("postgres"));
    let refusal = client.refusal("insert into kept values ('ana@vitrina')");
    assert!(refusal.contains("(email)=(ana@vitrina) already exists"), "{refusal}");
    // The server writes to its log before it responds.
    let log = fs::read_to_string(cluster.log_file()).unwrap();
    assert!(log.contains("duplicate key value violates unique constraint"), "{log}");
    assert!(!log.contains("ana@vitrina") && !log.contains("insert into"), "{log}");
}

#[tokio::test]
async fn log_of_a_running_server_is_bounded_again_and_again() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let mut log = fs::File::options().append(true).open(cluster.log_file()).unwrap();
    for _ in 0..2 {
        log.write_all(&vec![b'x'; 9 << 20]).unwrap();
        eventually("the log is short again", || log.metadata().unwrap().len() < 8 << 20);
    }
}

/// Only root serves data as another user.
#[tokio::test]
async fn data_that_its_user_cannot_reach_is_not_replaced() {
    let base = accessible_folder();
    let folder = base.path().join("pg");
    let cluster = start(&folder).await;
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    cluster.stop().await.unwrap();
    drop(cluster);
    if Account::choose().unwrap() != Account::Own {
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let options = StartOptions::new(&folder, binaries());
        let error = Cluster::start(options).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(!folder.join("location").exists());
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o711)).unwrap();

        // A restored backup may belong to root.
        let given = Command::new("chown").arg("-R").arg("0:0").arg(folder.join("data")).status();
        assert!(given.unwrap().success());
    }
    let cluster = start(&folder).await;
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
    assert_ne!(fs::metadata(cluster.data_directory()).unwrap().uid(), 0);
}

#[tokio::test]
async fn failed_start_reports_the_reason_at_once() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let control = cluster.data_directory().join("global/pg_control");
    cluster.stop().await.unwrap();
    drop(cluster);
    fs::remove_file(control).unwrap();
    let error = Cluster::start(StartOptions::new(base.path(), binaries())).await.unwrap_err();
    // Not `Silent`, the error after a timeout.
    assert!(matches!(&error, Error::Exited { log, .. } if log.contains("pg_control")), "{error}");
}

#[tokio::test]
async fn root_serves_a_folder_that_the_server_cannot_enter() {
    let base = accessible_folder();
    let shut = tempfile::tempdir().unwrap();
    fs::set_permissions(shut.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let folder = shut.path().join("pg");
    let options = || {
        let mut options = StartOptions::new(&folder, binaries());
        options.fallback = base.path().join("fallback");
        options
    };
    let cluster = Cluster::start(options()).await.unwrap();
    query(&cluster, "create table kept (n int); insert into kept values (7)");
    drop(cluster);
    let cluster = Cluster::start(options()).await.unwrap();
    assert_eq!(query(&cluster, "select n from kept"), ["7"]);
    let own = Account::choose().unwrap() == Account::Own;
    assert_eq!(cluster.data_directory().starts_with(shut.path()), own);
}

#[tokio::test]
async fn failed_initdb_reports_the_reason_and_leaves_nothing() {
    let base = accessible_folder();
    let folder = accessible_folder();
    let script = "touch \"$2/half\"; echo 'could not write: No space left on device'; exit 1";
    let search = fake(base.path(), script);
    let found = Binaries::find(&search).unwrap();
    let error = Cluster::start(StartOptions::new(folder.path(), found)).await.unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("data"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    // The next start, with a working `initdb`, succeeds.
    assert_eq!(query(&start(folder.path()).await, "select 1"), ["1"]);
}

#[tokio::test]
async fn other_major_version_is_refused_with_both_named() {
    let base = accessible_folder();
    fs::create_dir(base.path().join("data")).unwrap();
    fs::write(base.path().join("data/PG_VERSION"), "9.2\n").unwrap();
    let found = binaries();
    let expected = format!("is PostgreSQL {}", found.major());
    let error = Cluster::start(StartOptions::new(base.path(), found)).await.unwrap_err();
    assert!(matches!(error, Error::OtherMajor { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("created by PostgreSQL 9.2") && message.contains(&expected),
        "{message}"
    );
}

#[tokio::test]
async fn error_for_an_impossible_folder_keeps_its_cause() {
    let base = accessible_folder();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    let options = StartOptions::new(file.join("pg"), binaries());
    let error = Cluster::start(options).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Not a directory"), "{error}: {source}");
}

#[tokio::test]
async fn dropping_a_cluster_stops_its_server() {
    let base = accessible_folder();
    let cluster = start(base.path()).await;
    let (pid, data) = (cluster.pid(), cluster.data_directory());
    drop(cluster);
    eventually("the server exits", || !runs(pid, &data));
}

#[tokio::test]
async fn cancelled_start_leaves_no_server() {
    let base = accessible_folder();
    let (sender, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let mut options = StartOptions::new(base.path(), binaries());
    options.on_progress = Some(Box::new(move |step| drop(sender.send(step))));
    let mut starting = Box::pin(Cluster::start(options));
    loop {
        tokio::select! {
            _ = &mut starting => panic!("it was ready before it could be cancelled"),
            step = progress.recv() => if step == Some(Progress::Starting) { break },
        }
    }
    drop(starting);
    // The sender is dropped with the start.
    while progress.recv().await.is_some() {}
    let data = fs::canonicalize(base.path()).unwrap().join("data");
    eventually("nothing runs", || !servers().iter().any(|(_, of)| *of == data));
    start(base.path()).await;
}

#[tokio::test]
async fn folder_with_a_long_and_odd_name_works() {
    let base = accessible_folder();
    let folder = base.path().join(format!("it's a, \"{}\"", "long name ".repeat(10)));
    let cluster = start(&folder).await;
    assert_eq!(query(&cluster, "select 1"), ["1"]);
    let pid = cluster.pid();
    cluster.drop_without_stopping();
    let cluster = start(&folder).await;
    assert_eq!(cluster.pid(), pid);
    let directory = socket_directory(&cluster.url("postgres"));
    assert!(directory.exists());
    cluster.stop().await.unwrap();
    assert!(!directory.exists(), "the folder outside is removed with the server");
}

#[tokio::test]
async fn each_signal_to_stop_has_its_own_timeout() {
    let base = accessible_folder();
    // The long one ends a hang. The other signals get no time at all.
    let (long, none) = (Duration::from_mins(5), Duration::ZERO);
    let no_time = StopTimeouts { fast: none, immediate: none, kill: none };
    let cases = [
        (StopTimeouts { fast: long, ..no_time }, false, None),
        (StopTimeouts { immediate: long, ..no_time }, true, None),
        (StopTimeouts { kill: long, ..no_time }, false, Some(9)),
    ];
    for (timeouts, is_immediate, killed_by) in cases {
        let mut cluster = start(base.path()).await;
        cluster.limits.stop = timeouts;
        let mut client = Client::connect(&cluster.url("postgres"));
        let child = client.query("select pg_backend_pid()")[0].parse().unwrap();
        if is_immediate {
            // It holds up a fast shutdown, and an immediate one kills it.
            signal("STOP", child);
        }
        if killed_by.is_some() {
            signal("STOP", cluster.pid());
        }
        cluster.stop().await.unwrap();
        let exit = cluster.wait().await;
        let was_immediate = exit.log.contains("received immediate shutdown request");
        let by = exit.status.and_then(|status| status.signal());
        assert_eq!((was_immediate, by), (is_immediate, killed_by), "{timeouts:?}: {exit}");
    }
}

#[test]
fn url_is_percent_encoded() {
    let address = url(Path::new("/a b/ü"), "or/ders?");
    assert_eq!(
        address,
        "postgres://vitrina@localhost:5432/or/ders%3F?host=/a%20b/%C3%BC&sslmode=disable"
    );
}

const OWNER: &str = concat!(module_path!(), "::owner_of_a_server_waits_to_be_killed");

#[tokio::test]
#[ignore = "not a test: the process that other tests kill"]
async fn owner_of_a_server_waits_to_be_killed() {
    let argument =
        std::env::args().find_map(|word| word.strip_prefix(OWNER_PREFIX).map(str::to_owned));
    let Some((kind, folder)) = argument.as_deref().and_then(|argument| argument.split_once(':'))
    else {
        return;
    };
    let report = |folder: &Path, pid: u32| {
        eprintln!("{OWNER_PREFIX}{}\n{OWNER_PREFIX}{pid}", folder.display());
    };
    if kind == "creating" {
        let found = Binaries::find(&endless_initdb(Path::new(folder))).unwrap();
        let mut options = StartOptions::new(folder, found);
        let reported = PathBuf::from(folder);
        options.on_progress = Some(Box::new(move |step| {
            if step == Progress::Creating {
                report(&reported, 0);
            }
        }));
        drop(Cluster::start(options).await);
    } else if kind == "cluster" {
        let cluster = start(Path::new(folder)).await;
        report(Path::new(folder), cluster.pid());
        cluster.wait().await;
    } else if kind == "without files" {
        let cluster = start(Path::new(folder)).await;
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
        let refused = fs::read("/proc/self/cmdline").is_err();
        let is_alive = cluster.is_alive();
        setrlimit(Resource::Nofile, limit).unwrap();
        let pid = if refused && is_alive { cluster.pid() } else { 0 };
        report(Path::new(folder), pid);
        std::future::pending::<()>().await;
    } else {
        let cluster = Ephemeral::start(&Search::default()).unwrap();
        report(cluster.folder(), cluster.pid());
        std::future::pending::<()>().await;
    }
}
