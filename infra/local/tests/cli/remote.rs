//! Commands for an edition whose data folder is elsewhere.

use tempfile::TempDir;

use crate::{Ended, World, vitrina};

/// Runs `vitrina` far from the edition, with this token if there is one.
async fn from_afar(nowhere: &TempDir, token: Option<&str>, arguments: &[&str]) -> Ended {
    let mut command = vitrina(nowhere.path(), arguments);
    command.envs(token.map(|token| ("VITRINA_TOKEN", token)));
    Ended::from(command.output().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_with_a_token_mends_an_edition_that_is_elsewhere() {
    let (world, nowhere) = (World::start().await, tempfile::tempdir().unwrap());
    let url = world.edition.url.as_str();
    let token = world.run(&["token", "operator"]).await.expect(0).stdout;
    let token = Some(token.trim());
    world.run(&["seed", "--products", "20"]).await.expect(0);
    world.catalogue(20).await;

    let listed = from_afar(&nowhere, token, &["dlq", "list", "--url", url]).await.expect(0);
    assert_eq!(listed.stdout, "no dead letters\n");
    let redrive = ["dlq", "--url", url, "redrive", "--all", "--dry-run"];
    from_afar(&nowhere, token, &redrive).await.expect(0);
    let status = ["status", "--url", url, "-o", "json"];
    let status = from_afar(&nowhere, token, &status).await.expect(0).json();
    assert_eq!(status["dead_letters"], 0, "{status:#}");
    let report = from_afar(&nowhere, token, &["sync", "--url", url, "--json"]).await.expect(0);
    assert_eq!(report.json()["compared"], 20);

    let seller = world.run(&["token", "seller"]).await.expect(0).stdout;
    let refused = from_afar(&nowhere, Some(seller.trim()), &["sync", "--url", url]).await;
    assert!(refused.expect(1).stderr.contains("forbidden"));
    world.stop().await;
}

#[tokio::test]
async fn without_a_token_or_an_address_nothing_is_asked_of_an_edition_elsewhere() {
    let nowhere = tempfile::tempdir().unwrap();
    let list = ["dlq", "list", "--url", "http://127.0.0.1:1"];
    let ended = from_afar(&nowhere, None, &list).await.expect(1);
    assert!(ended.stderr.contains("VITRINA_TOKEN is not set"), "{ended:#?}");
    let list = ["dlq", "list", "--url", "shop.example"];
    from_afar(&nowhere, Some("x"), &list).await.expect(2);
    let all = ["dlq", "discard", "--reason", ""];
    from_afar(&nowhere, Some("x"), &all).await.expect(2);
    // Without an address, it is about the edition here.
    from_afar(&nowhere, Some("x"), &["dlq", "list"]).await.expect(4);
}
