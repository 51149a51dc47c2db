//! Every column of every table, with its value: whatever is written is read back here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::{Value, json};
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;
use testkit::{Interference, rows};

use crate::test_bed::{OPERATOR, TestBed, n, s};

const MINUTE: Duration = Duration::from_mins(1);

/// The rows of `table` each time that a round passes `point`, which takes a minute.
fn rows_at(bed: &TestBed, point: &'static str, table: &'static str) -> Arc<Mutex<Vec<Vec<Value>>>> {
    let (found, pool, clock) =
        (Arc::new(Mutex::new(Vec::new())), bed.database.pool.clone(), bed.clock.clone());
    let seen = Arc::clone(&found);
    Interference::at(point, 1, move |_| {
        let (seen, pool, clock) = (Arc::clone(&seen), pool.clone(), clock.clone());
        async move {
            let rows = rows(&pool, table, "1").await;
            seen.lock().unwrap().push(rows);
            clock.advance(MINUTE);
        }
        .boxed()
    });
    found
}

/// Products and listings with another number of differences of each kind.
async fn drifted() -> (TestBed, Vec<ProductId>) {
    let (bed, ids) = TestBed::with_products(24).await;
    let mut each = ids.iter();
    let mut take = |count: usize| each.by_ref().take(count).copied().collect::<Vec<_>>();
    let (missing, stale, ahead, altered, stock, moving) =
        (take(1), take(2), take(3), take(5), take(6), take(7));
    let mut old = Vec::new();
    for id in &stale {
        old.push(bed.listing(*id).await.unwrap());
        bed.change(*id, json!({"name": "Other shoe"})).await;
    }
    bed.arrive().await;
    let copy = bed.listing(missing[0]).await.unwrap();
    for nth in 0..4 {
        let extra = 0x0189_0000_0000_7000_8000_0000_0000_0100 + nth;
        let mut extra_listing = copy.clone();
        extra_listing.extend(TestBed::key(ProductId::from_u128(extra)));
        bed.put(extra_listing).await;
    }
    bed.remove(missing[0]).await;
    for listing in old {
        bed.put(listing).await;
    }
    for id in ahead {
        bed.overwrite_attribute(id, "product_version", n(9)).await;
    }
    for id in altered {
        bed.overwrite_attribute(id, "content_hash", s("0123456789abcdef0123456789abcdef")).await;
    }
    for id in stock {
        bed.overwrite_attribute(id, "on_hand", n(8)).await;
    }
    for id in moving {
        bed.change(id, json!({"name": "Newer shoe"})).await;
    }
    (bed, ids)
}

#[tokio::test]
async fn every_column_of_a_run_is_read_back() {
    let (bed, ids) = drifted().await;
    bed.clock.advance(MINUTE);
    let id = bed.reconciler.request(OPERATOR, true).await.unwrap();
    let pool = &bed.database.pool;
    let run = json!({
        "id": id, "requested_at": "2026-09-21T14:14:20+00:00", "requested_by": OPERATOR,
        "deep": true, "started_at": null, "finished_at": null, "superseded": false,
        "buckets_done": 0, "compared": 0, "missing": 0, "stale": 0, "ahead": 0, "extra": 0,
        "altered": 0, "stock": 0, "moving": 0, "repaired": 0, "oldest_divergence": null,
        "half_read_units": 0,
    });
    assert_eq!(rows(pool, "sync.runs", "id").await, std::slice::from_ref(&run));

    bed.clock.advance(MINUTE);
    let categories = rows_at(&bed, "sync.walked", "sync.run_categories");
    bed.round().await;
    let finished = rows(pool, "sync.runs", "id").await.remove(0);
    assert!(finished["half_read_units"].as_i64().unwrap() > 28, "{finished}");
    let expected = json!({
        "id": id, "requested_at": "2026-09-21T14:14:20+00:00", "requested_by": OPERATOR,
        "deep": true, "started_at": "2026-09-21T14:15:20+00:00",
        "finished_at": "2026-09-21T14:16:20+00:00", "superseded": false, "buckets_done": 1024,
        "compared": 28, "missing": 1, "stale": 2, "ahead": 3, "extra": 4, "altered": 5,
        "stock": 6, "moving": 7, "repaired": 21,
        // The products are as old as that; they were never compared before.
        "oldest_divergence": "2026-09-21T14:13:20+00:00",
        // Above: it depends on the sizes of the items.
        "half_read_units": finished["half_read_units"],
    });
    assert_eq!(finished, expected);
    let during = categories.lock().unwrap().remove(0);
    assert_eq!(during, [json!({"run_id": id, "category": "shoes"})]);
    assert_eq!(rows(pool, "sync.run_categories", "category").await, [Value::Null; 0]);

    // The repairs that it requested, with what it saw.
    let requests = rows(pool, "inventory.repair_requests", "product_id").await;
    assert!(!requests.is_empty());
    for request in &requests {
        assert_eq!(request["requested_at"], "2026-09-21T14:15:20+00:00", "{request}");
    }
    let ahead: Vec<&Value> = requests.iter().filter(|it| it["seen_version"] == 9).collect();
    assert_eq!(ahead.len(), 3, "{requests:?}");
    assert_eq!(ids.len(), 24);
}

#[tokio::test]
async fn every_column_of_a_bucket_is_read_back() {
    let (bed, ids) = TestBed::with_products(1).await;
    let (pool, bucket) = (&bed.database.pool, i32::from(bucket_of(ids[0])));
    let find = |rows: &[Value], bucket: i32| {
        rows.iter().find(|row| row["bucket"] == bucket).unwrap().clone()
    };
    let idle = json!({
        "bucket": bucket, "checked_at": null, "run_id": null, "done": false,
        "resume_after": null, "lease": null, "lease_until": null,
    });
    assert_eq!(find(&rows(pool, "sync.buckets", "bucket").await, bucket), idle);

    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let mut buckets: Vec<i32> = (0..1_024).filter(|it| *it != bucket).take(19).collect();
    buckets.push(bucket);
    bed.leave_only(id, &buckets).await;
    let during = rows_at(&bed, "sync.claimed", "sync.buckets");
    bed.round().await;
    let during = during.lock().unwrap().remove(0);
    let claimed: Vec<&Value> = during.iter().filter(|row| !row["lease"].is_null()).collect();
    assert_eq!(claimed.len(), 16, "two for each of eight workers");
    for row in claimed {
        let expected = json!({
            "bucket": row["bucket"], "checked_at": null, "run_id": id, "done": false,
            "resume_after": null, "lease": claimed_by(&during),
            "lease_until": "2026-09-21T14:14:20+00:00",
        });
        assert_eq!(*row, expected);
    }
    let done = json!({
        "bucket": bucket, "checked_at": "2026-09-21T14:14:20+00:00", "run_id": id, "done": true,
        "resume_after": null, "lease": null, "lease_until": null,
    });
    assert_eq!(find(&rows(pool, "sync.buckets", "bucket").await, bucket), done);
}

/// The lease of the only round.
fn claimed_by(rows: &[Value]) -> Value {
    rows.iter().find(|row| !row["lease"].is_null()).unwrap()["lease"].clone()
}
