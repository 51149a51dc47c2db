//! The cluster for tests.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    super::{Ephemeral, Search},
    accessible_folder, fake, runs,
    support::{Client, Owner, eventually, socket_directory},
};

#[test]
fn ephemeral_cluster_serves_and_is_removed_on_drop() {
    let cluster = Ephemeral::start(&Search::default()).unwrap();
    let mut client = Client::connect(&cluster.url("postgres"));
    assert_eq!(client.query("show fsync"), ["off"]);
    assert_eq!(client.query("show synchronous_commit"), ["on"]);
    client.query("create database one");
    assert_eq!(Client::connect(&cluster.url("one")).query("select 1"), ["1"]);
    let socket = socket_directory(&cluster.url("one")).join(".s.PGSQL.5432");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    let folder = fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700, "others are let in");
    let (folder, pid) = (cluster.folder().to_owned(), cluster.pid());
    assert!(runs(pid, &folder.join("data")));
    drop(cluster);
    assert!(!folder.exists() && !runs(pid, &folder.join("data")));
}

#[test]
fn ephemeral_cluster_is_removed_after_its_owner_is_killed() {
    let mut owner = Owner::start("ephemeral", Path::new(""));
    let data = owner.folder.join("data");
    assert!(runs(owner.pid, &data));
    // A second one at the same time is independent.
    let second = Ephemeral::start(&Search::default()).unwrap();
    assert_ne!(second.folder(), owner.folder);
    owner.kill();
    eventually("the server exits", || !runs(owner.pid, &data));
    eventually("the folder is removed", || !owner.folder.exists());
    let mut client = Client::connect(&second.url("postgres"));
    assert_eq!(client.query("select 1"), ["1"]);
}

#[test]
fn failed_ephemeral_cluster_leaves_nothing() {
    let base = accessible_folder();
    let seen = base.path().join("seen");
    fs::write(&seen, "").unwrap();
    fs::set_permissions(&seen, fs::Permissions::from_mode(0o666)).unwrap();
    let script = format!("echo \"$2\" > '{}'; echo 'no room for it'; exit 3", seen.display());
    let search = fake(base.path(), &script);
    let error = Ephemeral::start(&search).unwrap_err();
    assert!(error.to_string().contains("no room for it"), "{error}");
    let data = PathBuf::from(fs::read_to_string(&seen).unwrap().trim());
    assert!(data.is_absolute() && !data.parent().unwrap().exists());
}
