//! `infra/aws/check-stage`, the script that checks a deployed stage, run against a local edition.

use std::path::Path;

use tokio::process::Command;

use crate::{CommandResult, TestEdition};

async fn check(url: &str, token: &str) -> CommandResult {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/check-stage");
    let output = Command::new(script)
        .env("VITRINA_URL", url)
        .env("VITRINA_SELLER_TOKEN", token)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    CommandResult::from(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_stage_passes_a_healthy_stage_and_fails_others() {
    let edition = TestEdition::start().await;
    let token = edition.run(&["token", "seller"]).await.expect(0).stdout;
    let result = check(&edition.running.url, token.trim()).await.expect(0);
    assert!(result.stdout.contains("holds what it promises"), "{result:#?}");
    // The script deletes the products that it creates.
    assert!(edition.catalogue(0).await.is_empty());

    let buyer = edition.run(&["token", "buyer"]).await.expect(0).stdout;
    let result = check(&edition.running.url, buyer.trim()).await.expect(1);
    assert!(result.stderr.contains("a create: returned 403 instead of 201"), "{result:#?}");
    let url = edition.running.url.clone();
    edition.stop().await;
    let result = check(&url, token.trim()).await.expect(1);
    assert!(result.stderr.contains("no response"), "{result:#?}");
}
