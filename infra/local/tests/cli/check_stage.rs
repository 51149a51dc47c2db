//! What delivery drives a deployed stage with, against an edition on this machine.

use std::path::Path;

use tokio::process::Command;

use crate::{Ended, World};

async fn check(url: &str, token: &str) -> Ended {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/check-stage");
    let output = Command::new(script)
        .env("VITRINA_URL", url)
        .env("VITRINA_SELLER_TOKEN", token)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Ended::from(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_holds_what_it_promises_passes_its_check_and_another_does_not() {
    let world = World::start().await;
    let token = world.run(&["token", "seller"]).await.expect(0).stdout;
    let ended = check(&world.edition.url, token.trim()).await.expect(0);
    assert!(ended.stdout.contains("holds what it promises"), "{ended:#?}");
    // It leaves nothing for buyers to find.
    assert!(world.catalogue(0).await.is_empty());

    let buyer = world.run(&["token", "buyer"]).await.expect(0).stdout;
    let ended = check(&world.edition.url, buyer.trim()).await.expect(1);
    assert!(ended.stderr.contains("a create: answered 403 instead of 201"), "{ended:#?}");
    let url = world.edition.url.clone();
    world.stop().await;
    let ended = check(&url, token.trim()).await.expect(1);
    assert!(ended.stderr.contains("no answer"), "{ended:#?}");
}
