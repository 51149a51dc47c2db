//! What becomes of a command whose output nobody gets.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{DEADLINE, Ended, World, vitrina};

/// Runs a command whose every write to stdout fails: the disk is full.
async fn run_on_full_disk(data: &Path, arguments: &[&str]) -> Ended {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = vitrina(data, arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    Ended::from(child.wait_with_output().await.unwrap())
}

#[track_caller]
fn expect_one_message(ended: Ended) {
    let ended = ended.expect(1);
    // What takes more than some seconds, as comparing does on a slow machine, says how far it is.
    let lines = ended.stderr.lines().filter(|line| !line.starts_with("comparing: "));
    let [message] = lines.collect::<Vec<_>>()[..] else { panic!("{ended:#?}") };
    assert!(message.starts_with("vitrina: writing to stdout: "), "{ended:#?}");
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure_with_one_message() {
    for arguments in
        [&["openapi"][..], &["asyncapi"], &["completion", "bash"], &["--help"], &["--version"]]
    {
        expect_one_message(run_on_full_disk(Path::new("/nowhere"), arguments).await);
    }
}

#[tokio::test]
async fn whoever_closes_the_pipe_has_read_enough() {
    for arguments in [&["openapi"][..], &["completion", "zsh"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = vitrina(Path::new("/nowhere"), arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ended = Ended::from(child.wait_with_output().await.unwrap()).expect(0);
        assert_eq!(ended.stderr, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edition_answered_and_nobody_could_read_is_a_failure() {
    let world = World::start().await;
    let commands = [&["status"][..], &["dlq", "list"], &["token", "buyer"], &["sync"]];
    for arguments in commands {
        expect_one_message(run_on_full_disk(world.data.path(), arguments).await);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edition_serves_though_nobody_could_read_where_and_says_so_in_the_end() {
    let data = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = vitrina(data.path(), &["up", "--listen", "127.0.0.1:0"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        if line.expect("it says what failed").starts_with("vitrina: writing to stdout: ") {
            break;
        }
    }
    let running = std::fs::read(data.path().join("running.json")).unwrap();
    let running: serde_json::Value = serde_json::from_slice(&running).unwrap();
    let ready = format!("{}/readyz", running["url"].as_str().unwrap());
    assert!(reqwest::get(ready).await.unwrap().status().is_success());

    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(sent.success());
    let status = timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
}
