//! Exit code and message of a command that cannot write its output.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use testkit::within;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::{CommandResult, TestEdition, vitrina};

/// Runs a command with stdout on `/dev/full`: every write fails as on a full disk.
async fn run_on_full_disk(data: &Path, arguments: &[&str]) -> CommandResult {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = vitrina(data, arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    CommandResult::from(child.wait_with_output().await.unwrap())
}

#[track_caller]
fn assert_only_write_error(result: CommandResult) {
    let result = result.expect(1);
    // On a slow machine a comparison takes several seconds and prints its progress.
    let lines = result.stderr.lines().filter(|line| !line.starts_with("comparing: "));
    let [message] = lines.collect::<Vec<_>>()[..] else { panic!("{result:#?}") };
    assert!(message.starts_with("vitrina: writing to stdout: "), "{result:#?}");
}

#[tokio::test]
async fn full_disk_fails_a_command_with_one_message() {
    for arguments in
        [&["openapi"][..], &["asyncapi"], &["completion", "bash"], &["--help"], &["--version"]]
    {
        assert_only_write_error(run_on_full_disk(Path::new("/nowhere"), arguments).await);
    }
}

#[tokio::test]
async fn closed_pipe_is_not_an_error() {
    for arguments in [&["openapi"][..], &["completion", "zsh"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = vitrina(Path::new("/nowhere"), arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let result = CommandResult::from(child.wait_with_output().await.unwrap()).expect(0);
        assert_eq!(result.stderr, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_fails_a_command_that_calls_an_edition() {
    let edition = TestEdition::start().await;
    let commands = [&["status"][..], &["dlq", "list"], &["token", "buyer"], &["sync"]];
    for arguments in commands {
        assert_only_write_error(run_on_full_disk(edition.data.path(), arguments).await);
    }
    edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_serves_with_stdout_full_and_exits_with_failure() {
    let data = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = vitrina(data.path(), &["up", "--listen", "127.0.0.1:0"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = within("the message", lines.next_line()).await.unwrap();
        if line
            .expect("stderr ended before the message")
            .starts_with("vitrina: writing to stdout: ")
        {
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
    let status = within("the exit", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1));
}
