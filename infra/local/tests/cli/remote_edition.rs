//! Commands with `--url`, for an edition on another machine.

use tempfile::TempDir;

use crate::{CommandResult, TestEdition, vitrina};

/// Runs `vitrina` on an empty data folder, with the token in `VITRINA_TOKEN` if there is one.
async fn run_remotely(empty: &TempDir, token: Option<&str>, arguments: &[&str]) -> CommandResult {
    let mut command = vitrina(empty.path(), arguments);
    command.envs(token.map(|token| ("VITRINA_TOKEN", token)));
    CommandResult::from(command.output().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn url_and_an_operator_token_operate_a_remote_edition() {
    let (edition, empty) = (TestEdition::start().await, tempfile::tempdir().unwrap());
    let url = edition.running.url.as_str();
    let token = edition.run(&["token", "operator"]).await.expect(0).stdout;
    let token = Some(token.trim());
    edition.run(&["seed", "--products", "20"]).await.expect(0);
    edition.catalogue(20).await;

    let listed = run_remotely(&empty, token, &["dlq", "list", "--url", url]).await.expect(0);
    assert_eq!(listed.stdout, "no dead letters\n");
    let redrive = ["dlq", "--url", url, "redrive", "--all", "--dry-run"];
    run_remotely(&empty, token, &redrive).await.expect(0);
    let status = ["status", "--url", url, "-o", "json"];
    let status = run_remotely(&empty, token, &status).await.expect(0).json();
    assert_eq!(status["dead_letters"], 0, "{status:#}");
    let report = run_remotely(&empty, token, &["sync", "--url", url, "--json"]).await.expect(0);
    assert_eq!(report.json()["compared"], 20);
    // The remote edition responds that it knows no such id.
    let trace = ["trace", "--url", url, "01890000-0000-7000-8000-000000000000"];
    let unknown = run_remotely(&empty, token, &trace).await.expect(1);
    assert!(unknown.stderr.contains("no product, request or event"), "{unknown:#?}");

    let seller = edition.run(&["token", "seller"]).await.expect(0).stdout;
    let refused = run_remotely(&empty, Some(seller.trim()), &["sync", "--url", url]).await;
    assert!(refused.expect(1).stderr.contains("forbidden"));
    edition.stop().await;
}

#[tokio::test]
async fn remote_commands_require_a_token_and_a_valid_url() {
    let empty = tempfile::tempdir().unwrap();
    let list = ["dlq", "list", "--url", "http://127.0.0.1:1"];
    let result = run_remotely(&empty, None, &list).await.expect(1);
    assert!(result.stderr.contains("VITRINA_TOKEN is not set"), "{result:#?}");
    let list = ["dlq", "list", "--url", "shop.example"];
    run_remotely(&empty, Some("x"), &list).await.expect(2);
    let all = ["dlq", "discard", "--reason", ""];
    run_remotely(&empty, Some("x"), &all).await.expect(2);
    // Without `--url` the command looks for a local edition.
    run_remotely(&empty, Some("x"), &["dlq", "list"]).await.expect(4);
}
