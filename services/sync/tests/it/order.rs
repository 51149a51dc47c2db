//! Which buckets and differences come first, and which repair belongs to which product.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;
use sync::Settings;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, RECONCILIATIONS, TestBed, n, settings};

#[tokio::test]
async fn buckets_are_compared_least_recently_compared_first() {
    let mut bed = TestBed::new().await;
    bed.reconciler = bed.reconciler.with_settings(Settings { slice: 3, ..settings() });
    // No bucket is at the place of its number, and three were never compared.
    let long_ago: DateTime<Utc> = bed.clock.now() - TimeDelta::days(1);
    sqlx::query(
        "update sync.buckets set checked_at = case when bucket in (900, 17, 400) then null
             else $1 + make_interval(mins => (bucket * 7 + 500) % 1024) end",
    )
    .bind(long_ago)
    .execute(&bed.database.pool)
    .await
    .unwrap();
    let expected: Vec<i32> = sqlx::query_scalar("select bucket from sync.buckets")
        .fetch_all(&bed.database.pool)
        .await
        .unwrap();
    let mut expected = expected;
    let never = [17, 400, 900];
    expected.retain(|bucket| !never.contains(bucket));
    expected.sort_by_key(|bucket| (bucket * 7 + 500) % 1024);
    let expected = [&never[..], &expected[..6]].concat();
    let mut done: Vec<i32> = Vec::new();
    for _ in 0..3 {
        bed.round().await;
        let mut more: Vec<i32> = sqlx::query_scalar("select bucket from sync.buckets where done")
            .fetch_all(&bed.database.pool)
            .await
            .unwrap();
        more.retain(|bucket| !done.contains(bucket));
        more.sort_unstable();
        done.extend(more);
        bed.clock.advance(Duration::from_mins(1));
    }
    let mut rounds = Vec::new();
    for round in expected.chunks(3) {
        let mut round = round.to_vec();
        round.sort_unstable();
        rounds.extend(round);
    }
    assert_eq!(done, rounds);
}

#[tokio::test]
async fn each_product_of_a_bucket_gets_its_own_repair() {
    let mut bed = TestBed::new().await;
    bed.reconciler = bed.reconciler.with_settings(Settings { page: 100, ..settings() });
    // Until one bucket has two products.
    let mut buckets: HashMap<u16, Vec<ProductId>> = HashMap::new();
    let mut created = 0;
    let ids = loop {
        let id = bed.create(&format!("SKU-{created}"), "shoes").await;
        created += 1;
        let bucket = buckets.entry(bucket_of(id)).or_default();
        bucket.push(id);
        if bucket.len() == 2 {
            break bucket.clone();
        }
    };
    bed.set_stock(ids[1], 8).await;
    bed.arrive().await;
    bed.overwrite_attribute(ids[0], "product_version", n(9)).await;
    bed.overwrite_attribute(ids[1], "product_version", n(5)).await;
    bed.overwrite_attribute(ids[1], "stock_version", n(30)).await;
    let run = bed.reconcile_products(&ids, false).await;
    assert_eq!((run.findings.ahead, run.findings.repaired), (2, 2), "{run:?}");
    bed.arrive().await;
    assert_eq!(bed.versions(ids[0]).await, [10, 1]);
    assert_eq!(bed.versions(ids[1]).await, [6, 31]);
    for (id, on_hand) in ids.iter().zip([5, 8]) {
        assert_eq!(bed.listing(*id).await.unwrap()["on_hand"], n(on_hand));
    }
    assert_eq!(bed.reconcile_products(&ids, true).await.findings.differences(), 0);
}

/// The elements of all pages of a list.
async fn pages(bed: &TestBed, path: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("{path}limit={limit}");
    loop {
        let page = bed.ask_as_operator(Call::get(&path)).await.expect(200);
        let data = page.json["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        found.extend(data.iter().cloned());
        if page.json["page"]["has_more"] == json!(false) {
            return found;
        }
        assert_eq!(data.len(), limit, "{path}");
        page.header("link").split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
    }
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages_of_any_size() {
    let bed = TestBed::new().await;
    let mut expected = Vec::new();
    for deep in [false, true, true, false, true, false, false] {
        let call = Call::post(RECONCILIATIONS).json(&json!({ "deep": deep }));
        let run = bed.ask_as_operator(call).await.expect(202).json;
        expected.push(run["id"].clone());
        bed.clock.advance(Duration::from_secs(1));
    }
    // Finished and pending ones are listed alike.
    for run in &expected[..2] {
        bed.skip_other_buckets(run.as_str().unwrap().parse().unwrap(), &[]).await;
        bed.round().await;
    }
    expected.reverse();
    for limit in [1, 2, 3, 7, 8] {
        let found = pages(&bed, &format!("{RECONCILIATIONS}?"), limit).await;
        let ids: Vec<Value> = found.iter().map(|run| run["id"].clone()).collect();
        assert_eq!(ids, expected, "{limit} at once");
        let deep: Vec<bool> = found.iter().map(|run| run["deep"].as_bool().unwrap()).collect();
        assert_eq!(deep, [false, false, true, false, true, true, false]);
        let states: Vec<&str> = found.iter().map(|run| run["state"].as_str().unwrap()).collect();
        assert_eq!(states[5..], ["finished"; 2]);
        assert_eq!(states[..5], ["pending"; 5]);
    }
}

/// The filters of dead letters that the test below knows, and the parameters of pages.
const PARAMETERS: [&str; 6] = ["queue", "type", "reason", "older_than", "limit", "cursor"];

#[test]
fn every_filter_of_dead_letters_is_tested_with_pages() {
    let document = serde_json::to_value(sync::routes().into_openapi()).unwrap();
    let list = &document["paths"]["/v1/admin/dead-letters"]["get"]["parameters"];
    let names: Vec<&str> =
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, PARAMETERS, "use a new filter in the test below");
}

/// A dead letter as the model has it: its id, type, reason and age in seconds.
type Letter = (i64, &'static str, &'static str, i64);

#[tokio::test]
async fn dead_letters_are_listed_by_every_filter_and_page_size() {
    let bed = TestBed::new().await;
    let now = bed.clock.now();
    // Ids tell the order; ages, types and reasons have others.
    let letters: [Letter; 7] = [
        (3, "ProductUpdated", "a timeout of a store", 50),
        (8, "StockChanged", "unreadable: a comma", 10),
        (11, "ProductUpdated", "unreadable: a colon", 70),
        (12, "ProductDeleted", "another timeout", 20),
        (20, "StockChanged", "a timeout of a store", 60),
        (31, "ProductCreated", "unreadable: a comma", 30),
        (32, "ProductUpdated", "another timeout", 40),
    ];
    // Rows are not stored in the order of their ids.
    for nth in [4, 0, 6, 2, 5, 1, 3] {
        let (id, event_type, reason, age) = letters[nth];
        sqlx::query(
            "insert into bus.dead_letters
                 (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at, dead_at)
             values ($1, 'catalog', gen_random_uuid(), $2, gen_random_uuid(), '{}', $3, 5, $4, $4)",
        )
        .bind(id)
        .bind(event_type)
        .bind(reason)
        .bind(now - TimeDelta::seconds(age))
        .execute(&bed.database.pool)
        .await
        .unwrap();
    }
    for event_type in [None, Some("ProductUpdated"), Some("StockChanged"), Some("Unknown")] {
        for reason in [None, Some("timeout"), Some("comma")] {
            // Older than that, and not just as old.
            for older_than in [None, Some(0), Some(30), Some(29), Some(60), Some(100)] {
                let mut path = format!("{DEAD_LETTERS}?queue=catalog&");
                for (name, value) in [
                    ("type", event_type.map(ToOwned::to_owned)),
                    ("reason", reason.map(ToOwned::to_owned)),
                    ("older_than", older_than.map(|age: i64| age.to_string())),
                ] {
                    if let Some(value) = value {
                        path.push_str(&format!("{name}={value}&"));
                    }
                }
                let expected: Vec<i64> = letters
                    .iter()
                    .filter(|it| event_type.is_none_or(|wanted| it.1 == wanted))
                    .filter(|it| reason.is_none_or(|wanted| it.2.contains(wanted)))
                    .filter(|it| older_than.is_none_or(|age| it.3 > age))
                    .map(|it| it.0)
                    .collect();
                for limit in [2, 100] {
                    let found = pages(&bed, &path, limit).await;
                    let found: Vec<i64> =
                        found.iter().map(|it| it["id"].as_i64().unwrap()).collect();
                    assert_eq!(found, expected, "{path} with {limit} at once");
                }
            }
        }
    }
}
