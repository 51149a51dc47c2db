//! An edition without a projector: its events wait in the queue, and reconciliation finds them there.

use reqwest::Method;
use serde_json::json;
use testkit::eventually;

use crate::openapi::send;
use crate::process::Process;
use crate::reconciliation::{counts, json_of};
use crate::requests::product;

#[tokio::test]
async fn event_that_waits_in_the_queue_is_no_difference() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("VITRINA_ROLES", "identity,inventory,relay,sync")];
    let process = Process::start_with(data.path(), &settings).await;
    let http = reqwest::Client::new();
    let seller = process.token(&http, "seller").await;
    let create = http.request(Method::POST, format!("{}/v1/products", process.url));
    let create = create.bearer_auth(&seller).json(&product("QUEUED"));
    assert_eq!(send(create).await.status, 201);
    let mut database = process.database().await;
    eventually("the event to leave the outbox", async || {
        let queued = "select (select count(*) from inventory.outbox), count(*) from bus.messages";
        let queued: (i64, i64) = sqlx::query_as(queued).fetch_one(&mut database).await.unwrap();
        (queued == (0, 1)).then_some(())
    })
    .await;
    let report = json_of(data.path(), &["sync", "--json"]).await;
    assert_eq!((counts(&report), &report["moving"]), ([0; 6], &json!(1)), "{report}");
    process.terminate().await;
}
