use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::bus::message::Outcome;
use shared::bus::postgres::Queue;
use shared::contract::routes::CATALOG_QUEUE;
use shared::http::auth::Role;
use shared::id::ProductId;
use testkit::{Call, edited_dynamodb};

use crate::store_outage::operators_api;
use crate::test_bed::{OPERATOR, TestBed};

async fn trace(bed: &TestBed, id: &str) -> Value {
    bed.ask_as_operator(Call::get(&format!("/v1/admin/trace/{id}"))).await.expect(200).json
}

/// State of the last change, and whether nothing is left to happen.
async fn state(bed: &TestBed, id: ProductId) -> (String, bool) {
    let trace = trace(bed, &id.to_string()).await;
    let last = trace["changes"].as_array().unwrap().last().unwrap();
    (last["state"].as_str().unwrap().to_owned(), last["complete"].as_bool().unwrap())
}

#[tokio::test]
async fn projected_change_has_every_hop_and_the_gaps_between() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    let committed = bed.clock.now();
    bed.clock.advance(Duration::from_millis(1_500));
    let published = bed.clock.now();
    bed.publish().await;
    bed.clock.advance(Duration::from_millis(250));
    let received = bed.clock.now();
    bed.project().await;
    let traced = trace(&bed, &id.to_string()).await;
    let change = &traced["changes"][0];
    let expected = json!({
        "product_id": id, "aggregate": "product", "version": 1, "change": "created",
        "event_id": change["event_id"], "request_id": change["request_id"],
        "traceparent": change["traceparent"],
        "hops": [
            {"name": "requested", "at": committed}, {"name": "committed", "at": committed},
            {"name": "published", "at": published}, {"name": "received", "at": received},
            {"name": "projected", "at": received},
        ],
        "gaps": [
            {"name": "writing", "milliseconds": 0.0},
            {"name": "in the outbox", "milliseconds": 1_500.0},
            {"name": "in the queue", "milliseconds": 250.0},
            {"name": "projecting", "milliseconds": 0.0},
        ],
        "state": "in the listing", "complete": true,
    });
    assert_eq!(traced, json!({"changes": [expected], "cut": false}));
    for other in ["event_id", "request_id"] {
        assert_eq!(trace(&bed, change[other].as_str().unwrap()).await, traced, "by {other}");
    }
}

#[tokio::test]
async fn state_tells_where_the_change_is() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    assert_eq!(state(&bed, id).await, ("in the outbox".to_owned(), false));
    bed.publish().await;
    assert_eq!(state(&bed, id).await, ("in the queue".to_owned(), false));
    bed.make_dead_letters().await;
    let letter = &bed.dead_letters().await[0];
    let dead = format!("dead letter {}: {}", letter["id"], letter["reason"].as_str().unwrap());
    assert_eq!(state(&bed, id).await, (dead, false));
    let discard = Call::post("/v1/admin/dead-letters/discard").json(&json!({"all": true}));
    bed.ask_as_operator(discard).await.expect(200);
    let lost = "published, and in no queue: `vitrina sync` repairs it".to_owned();
    assert_eq!(state(&bed, id).await, (lost, false));
    bed.change(id, json!({"name": "Other"})).await;
    bed.arrive().await;
    assert_eq!(state(&bed, id).await, ("in the listing".to_owned(), true));
}

#[tokio::test]
async fn trace_has_the_latest_fifty_changes() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    for on_hand in 100..150 {
        bed.set_stock(id, on_hand).await;
    }
    let traced = trace(&bed, &id.to_string()).await;
    let changes = traced["changes"].as_array().unwrap();
    let versions: Vec<i64> = changes.iter().map(|it| it["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, (2..=51).collect::<Vec<i64>>());
    assert_eq!(traced["cut"], json!(true));
}

#[tokio::test]
async fn trace_of_an_unknown_id_is_not_found() {
    let bed = TestBed::new().await;
    for id in [OPERATOR.to_string(), "x".to_owned()] {
        let call = Call::get(&format!("/v1/admin/trace/{id}"));
        assert_eq!(bed.ask_as_operator(call).await.expect(404).code(), "not_found", "{id}");
    }
}

#[tokio::test]
async fn trace_finds_a_change_within_two_milliseconds_of_its_id() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    let traced = trace(&bed, &id.to_string()).await;
    let change = &traced["changes"][0];
    let shift = "update inventory.journal set requested_at = $1, committed_at = $1";
    for micros in [-2_001, -2_000, 0, 2_000, 2_001] {
        let at = bed.clock.now() + TimeDelta::microseconds(micros);
        sqlx::query(shift).bind(at).execute(&bed.database.pool).await.unwrap();
        for other in ["event_id", "request_id"] {
            let path = format!("/v1/admin/trace/{}", change[other].as_str().unwrap());
            let found = bed.ask_as_operator(Call::get(&path)).await.status;
            let expected = if micros.abs() > 2_000 { 404 } else { 200 };
            assert_eq!(found, expected, "by {other}, {micros} microseconds away");
        }
    }
}

/// States of all changes, oldest first.
async fn states(bed: &TestBed, id: &str) -> Vec<String> {
    let traced = trace(bed, id).await;
    let changes = traced["changes"].as_array().unwrap();
    changes.iter().map(|change| change["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn state_tells_how_often_a_message_was_tried() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    bed.publish().await;
    let queue = Queue::new(bed.database.pool.clone(), bed.clock.clone(), CATALOG_QUEUE);
    let reason = || "no luck".to_owned();
    let mut attempts = 0;
    for (outcome, counts) in [
        (Outcome::Later { reason: reason() }, false),
        (Outcome::Retry { reason: reason() }, true),
        (Outcome::Retry { reason: reason() }, true),
    ] {
        let message = queue.receive(1).await.unwrap().remove(0);
        if attempts == 0 && !counts {
            assert_eq!(state(&bed, id).await, ("being projected".to_owned(), false));
        }
        queue.settle(vec![(message, outcome)]).await.unwrap();
        attempts += u32::from(counts);
        let expected = format!("in the queue after {attempts} attempts: no luck");
        assert_eq!(state(&bed, id).await, (expected, false));
        bed.clock.advance(Duration::from_mins(1));
    }
    let change = &trace(&bed, &id.to_string()).await["changes"][0];
    let hops: Vec<&Value> =
        change["hops"].as_array().unwrap().iter().map(|hop| &hop["name"]).collect();
    assert_eq!(hops, ["requested", "committed", "published"]);
    bed.project().await;
    assert_eq!(state(&bed, id).await, ("in the listing".to_owned(), true));
}

#[tokio::test]
async fn change_whose_hop_is_gone_was_overtaken() {
    let bed = TestBed::new().await;
    let id = bed.create("SKU-0", "shoes").await;
    for nth in 0..3 {
        bed.set_stock(id, 10 + nth).await;
        bed.change(id, json!({"name": format!("Shoe {nth}")})).await;
        bed.arrive().await;
    }
    let overtaken = "overtaken by a later change; a listing keeps the last 4";
    let listed = "in the listing";
    let expected = [overtaken, overtaken, overtaken, listed, listed, listed, listed];
    assert_eq!(states(&bed, &id.to_string()).await, expected);
    let traced = trace(&bed, &id.to_string()).await;
    let are_complete =
        traced["changes"].as_array().unwrap().iter().all(|change| change["complete"] == true);
    assert!(are_complete, "{traced}");
}

#[tokio::test]
async fn event_projected_during_the_search_is_in_the_listing() {
    let (bed, ids) = TestBed::with_products(2).await;
    // The first read of the listings shows the table as it was before the event was projected. After that,
    // the event is in no queue.
    let reads = AtomicU32::new(0);
    let client = edited_dynamodb(&bed.client, move |operation, sent| {
        if operation == "BatchGetItem" && reads.fetch_add(1, Ordering::SeqCst) == 0 {
            let keys = sent["RequestItems"]["listings"]["Keys"].as_array_mut().unwrap();
            for key in keys {
                key["id"]["S"] = json!(OPERATOR);
            }
        }
    });
    let api = operators_api(&bed, bed.database.pool.clone(), client);
    let call = Call::get(&format!("/v1/admin/trace/{}", ids[0]));
    let call = call.bearer(&bed.tokens.token(OPERATOR, Role::Operator));
    let change = &call.send(&api).await.expect(200).json["changes"][0];
    assert_eq!((&change["state"], &change["complete"]), (&json!("in the listing"), &json!(true)));
}

#[tokio::test]
async fn damaged_listing_does_not_hide_the_trace() {
    let (bed, ids) = TestBed::with_products(2).await;
    bed.set_stock(ids[0], 9).await;
    bed.set_stock(ids[1], 9).await;
    bed.arrive().await;
    bed.set_stock(ids[0], 8).await;
    // As if both were of one request, as the products of a batch are.
    let request = "update inventory.journal set request_id = $1";
    let at = bed.ids.next::<shared::id::RequestId>(bed.clock.now());
    sqlx::query(request).bind(at).execute(&bed.database.pool).await.unwrap();
    bed.overwrite_attribute(ids[0], "name", AttributeValue::Bool(true)).await;
    let damaged = "published, and the listing is damaged: `vitrina sync --deep` repairs it";
    let [outbox, listed] = ["in the outbox", "in the listing"];
    assert_eq!(states(&bed, &ids[0].to_string()).await, [damaged, damaged, outbox]);
    assert_eq!(states(&bed, &ids[1].to_string()).await, [listed, listed]);
    let traced = trace(&bed, &at.to_string()).await;
    let changes = traced["changes"].as_array().unwrap();
    let of = |id: ProductId| -> Vec<&Value> {
        let changes = changes.iter().filter(|change| change["product_id"] == json!(id));
        changes.map(|change| &change["state"]).collect()
    };
    assert_eq!(of(ids[0]), [damaged, damaged, outbox]);
    assert_eq!(of(ids[1]), [listed, listed]);
    // A deep run repairs it, as the state says.
    bed.arrive().await;
    bed.reconcile_products(&ids[..1], true).await;
    bed.arrive().await;
    assert_eq!(bed.reconcile_products(&ids, true).await.findings.differences(), 0);
    assert!(states(&bed, &ids[0].to_string()).await.iter().all(|it| it != damaged));
}
