//! Every kind of drift is found, classified and repaired through the ordinary path.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;
use sync::{Reconciler, Settings};
use testkit::{Calls, counted_dynamodb};

use crate::test_bed::{TABLE, TestBed, n, s, settings};

#[tokio::test]
async fn each_kind_of_drift_is_classified_and_repaired() {
    let (bed, ids) = TestBed::with_products(12).await;
    let [missing, stale, ahead, altered, stock, damaged, stock_ahead, ..] = ids[..] else {
        panic!("there are twelve");
    };
    let first = bed.listing(stale).await.unwrap();
    bed.change(stale, json!({"name": "Other shoe"})).await;
    bed.set_stock(stock, 7).await;
    bed.arrive().await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(bed.content(*id).await);
    }
    let extra = ProductId::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0123);
    let mut copy = bed.listing(missing).await.unwrap();
    copy.extend(TestBed::key(extra));

    bed.remove(missing).await;
    bed.put(first).await;
    bed.overwrite_attribute(ahead, "product_version", n(9)).await;
    bed.put(copy).await;
    bed.overwrite_attribute(altered, "content_hash", s("0123456789abcdef0123456789abcdef")).await;
    bed.overwrite_attribute(stock, "on_hand", n(8)).await;
    bed.overwrite_attribute(damaged, "held", s("none")).await;
    bed.overwrite_attribute(stock_ahead, "stock_version", n(4)).await;

    let run = bed.reconcile(false).await;
    let found = [
        run.findings.missing,
        run.findings.stale,
        run.findings.ahead,
        run.findings.extra,
        run.findings.altered,
        run.findings.stock,
    ];
    assert_eq!(found, [1, 1, 2, 1, 2, 1], "{run:?}");
    assert_eq!((run.findings.compared, run.findings.repaired, run.findings.moving), (13, 8, 0));
    assert!(run.read_units > 0.0);
    assert!(run.findings.oldest_divergence.is_some());

    bed.arrive().await;
    let run = bed.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    assert!(bed.listing(extra).await.unwrap().contains_key("deleted_at"));
    for (id, right) in ids.iter().zip(right) {
        let now = bed.content(*id).await;
        if *id == ahead {
            let now = now.unwrap();
            assert_eq!(now["product_version"], n(10));
            assert_eq!(now["name"], s("Running shoe"));
        } else if *id == stock_ahead {
            assert_eq!(now.unwrap()["stock_version"], n(5));
        } else {
            assert_eq!(now, right);
        }
    }
}

#[tokio::test]
async fn run_reports_every_read_unit_that_it_used() {
    let (mut bed, ids) = TestBed::with_products(6).await;
    for id in &ids[..3] {
        bed.overwrite_attribute(*id, "on_hand", n(8)).await;
    }
    let calls = Calls::default();
    let client = counted_dynamodb(&bed.client, &calls);
    let (pool, clock) = (bed.database.pool.clone(), bed.clock.clone());
    bed.reconciler =
        Reconciler::new(pool, client, TABLE, clock, bed.ids.clone()).with_settings(settings());
    let run = bed.reconcile(false).await;
    // Pages of the buckets, and then the listings that differ once more.
    let used = calls.take();
    let units: f64 = ["Query", "BatchGetItem"].iter().map(|name| used[*name].units).sum();
    assert!(used["BatchGetItem"].units > 0.0);
    assert!((run.read_units - units).abs() < 0.01, "{} of {used:?}", run.read_units);
}

#[tokio::test]
async fn deep_run_finds_content_that_does_not_match_its_hash() {
    let (bed, ids) = TestBed::with_products(6).await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(bed.content(*id).await);
    }
    let other = ProductId::from_u128(1);
    let wrong = [
        ("name", s("Stolen shoe")),
        ("category_key", s("shoes#BRL#o")),
        ("all_key", s("EUR#i")),
        ("seller_key", s(&format!("{other}#BRL#i"))),
        ("price_key", s(&format!("0000000000001#{}", ids[4]))),
    ];
    for (id, (name, value)) in ids.iter().zip(wrong) {
        let before = right[0].as_ref().unwrap()[name].clone();
        assert_ne!(before, value, "{name}");
        bed.overwrite_attribute(*id, name, value).await;
    }
    assert_eq!(bed.reconcile_products(&ids, false).await.findings.differences(), 0);
    let run = bed.reconcile_products(&ids, true).await;
    assert_eq!((run.findings.altered, run.findings.differences()), (5, 5), "{run:?}");
    bed.arrive().await;
    assert_eq!(bed.reconcile_products(&ids, true).await.findings.differences(), 0);
    for (id, right) in ids.iter().zip(right) {
        assert_eq!(bed.content(*id).await, right);
    }
}

#[tokio::test]
async fn difference_began_after_the_last_time_its_bucket_was_right() {
    let (bed, ids) = TestBed::with_products(2).await;
    let missing = ids[0];
    let bucket = bucket_of(missing);
    let extra = (1..100_000).map(ProductId::from_u128).find(|id| bucket_of(*id) == bucket).unwrap();
    let mut copy = bed.listing(missing).await.unwrap();
    copy.extend(TestBed::key(extra));
    for kind in ["missing", "ahead", "altered", "extra"] {
        bed.clock.advance(Duration::from_hours(1));
        let checked = bed.clock.now();
        let run = bed.reconcile_products(&[missing], false).await;
        assert_eq!((run.findings.differences(), run.findings.oldest_divergence), (0, None));
        bed.clock.advance(Duration::from_hours(1));
        match kind {
            "missing" => bed.remove(missing).await,
            "ahead" => bed.overwrite_attribute(missing, "product_version", n(50)).await,
            "altered" => bed.overwrite_attribute(missing, "content_hash", s("0")).await,
            _ => bed.put(copy.clone()).await,
        }
        let run = bed.reconcile_products(&[missing], false).await;
        assert_eq!(run.findings.differences(), 1, "{kind}: {run:?}");
        assert_eq!(run.findings.oldest_divergence, Some(checked), "{kind}");
        bed.arrive().await;
    }
}

#[tokio::test]
async fn impossible_version_is_replaced_by_the_true_version() {
    let (bed, ids) = TestBed::with_products(5).await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(bed.content(*id).await);
    }
    let far = 1 + (1 << 32);
    bed.overwrite_attribute(ids[0], "product_version", n(i64::MAX)).await;
    bed.overwrite_attribute(ids[1], "stock_version", n(i64::MAX)).await;
    bed.overwrite_attribute(ids[2], "product_version", n(far + 1)).await;
    // The highest credible version: the repair must exceed it.
    bed.overwrite_attribute(ids[3], "product_version", n(far)).await;
    bed.overwrite_attribute(ids[4], "product_version", n(i64::MAX)).await;
    bed.overwrite_attribute(ids[4], "product_position", n(i64::MAX)).await;
    let extra = ProductId::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0123);
    let mut copy = bed.listing(ids[0]).await.unwrap();
    copy.extend(TestBed::key(extra));
    bed.put(copy).await;

    let run = bed.reconcile(false).await;
    let found = [
        run.findings.altered,
        run.findings.stock,
        run.findings.ahead,
        run.findings.extra,
        run.findings.repaired,
        run.findings.moving,
    ];
    assert_eq!(found, [3, 1, 1, 1, 6, 0], "{run:?}");
    bed.arrive().await;
    assert_eq!(bed.reconcile(true).await.findings.differences(), 0);
    assert!(bed.listing(extra).await.unwrap().contains_key("deleted_at"));
    for (nth, right) in right.into_iter().enumerate() {
        let mut now = bed.content(ids[nth]).await.unwrap();
        if nth == 3 {
            assert_eq!(now.insert("product_version".to_owned(), n(1)), Some(n(far + 1)));
            // The hash covers the version, too; the deep run above verified it.
            now.insert("content_hash".to_owned(), right.as_ref().unwrap()["content_hash"].clone());
        }
        assert_eq!(Some(now), right, "{nth}");
    }
    // Later changes reach the listing.
    for id in ids {
        bed.set_stock(id, 9).await;
        bed.change(id, json!({"name": "Other shoe"})).await;
        bed.arrive().await;
        let now = bed.content(id).await.unwrap();
        assert_eq!((&now["on_hand"], &now["name"]), (&n(9), &s("Other shoe")));
    }
}

#[tokio::test]
async fn number_between_two_doubles_is_the_same_in_both_stores() {
    let (bed, ids) = TestBed::with_products(1).await;
    let numbers = r#"{"attributes": {
        "a": 1.23456789012345e-90, "b": 9.87654321098765e-77, "c": 3.33333333333333e-50,
        "d": 7.77777777777777e-33, "e": 6.62607015123456e-34, "f": 1.60217663412345e-91
    }}"#;
    bed.change_as_written(ids[0], numbers).await;
    bed.arrive().await;
    assert_eq!(bed.reconcile(true).await.findings.differences(), 0);
}

#[tokio::test]
async fn copy_in_another_bucket_is_not_a_listing() {
    let (bed, ids) = TestBed::with_products(2).await;
    let mut copy = bed.listing(ids[0]).await.unwrap();
    let other = i64::from((bucket_of(ids[0]) + 1) % 1024);
    copy.insert("bucket".to_owned(), n(other));
    bed.put(copy).await;
    for deep in [false, true] {
        let run = bed.reconcile(deep).await;
        assert_eq!(
            (run.findings.compared, run.findings.differences(), run.findings.moving),
            (2, 0, 0),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn deleted_table_of_listings_is_rebuilt() {
    let (bed, ids) = TestBed::with_products(20).await;
    bed.change(ids[3], json!({"status": "archived"})).await;
    bed.set_stock(ids[4], 0).await;
    bed.delete(ids[5]).await;
    bed.arrive().await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(bed.content(*id).await);
    }
    bed.client.delete_table().table_name(TABLE).send().await.unwrap();
    catalog::table::ensure(&bed.client, TABLE).await.unwrap();

    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.missing, run.findings.repaired), (20, 20), "{run:?}");
    bed.arrive().await;
    assert_eq!(bed.reconcile(true).await.findings.differences(), 0);
    for (id, right) in ids.iter().zip(right) {
        if *id != ids[5] {
            assert_eq!(bed.content(*id).await, right);
        }
    }
    let tombstone = bed.listing(ids[5]).await.unwrap();
    assert!(tombstone.contains_key("deleted_at"));
}

#[tokio::test]
async fn bucket_is_compared_to_the_end_of_its_last_page() {
    let mut bed = TestBed::new().await;
    bed.reconciler = bed.reconciler.with_settings(Settings { page: 1, ..settings() });
    // Until one bucket has two pages.
    let mut last_of = HashMap::new();
    let last = loop {
        let id = bed.create(&format!("SKU-{}", last_of.len()), "shoes").await;
        if let Some(other) = last_of.insert(bucket_of(id), id) {
            break id.max(other);
        }
    };
    bed.arrive().await;
    bed.remove(last).await;
    let run = bed.reconcile(false).await;
    assert_eq!(
        (run.findings.missing, run.findings.differences(), run.findings.repaired),
        (1, 1, 1),
        "{run:?}"
    );
    bed.arrive().await;
    assert!(bed.listing(last).await.is_some());
}

#[tokio::test]
async fn product_deleted_long_ago_needs_no_tombstone() {
    let (bed, ids) = TestBed::with_products(2).await;
    bed.delete(ids[0]).await;
    bed.arrive().await;
    // As its time to live would do later.
    let tombstone = bed.listing(ids[0]).await.unwrap();
    bed.remove(ids[0]).await;
    let run = bed.reconcile(false).await;
    assert_eq!(run.findings.missing, 1, "for 35 days the tombstone guards against late events");
    bed.arrive().await;
    assert_eq!(bed.listing(ids[0]).await.unwrap()["deleted_at"], tombstone["deleted_at"]);

    bed.remove(ids[0]).await;
    bed.clock.advance(Duration::from_hours(36 * 24));
    assert_eq!(bed.reconcile(false).await.findings.differences(), 0);
}

#[tokio::test]
async fn product_without_journal_is_announced_with_a_new_version() {
    let (bed, ids) = TestBed::with_products(2).await;
    sqlx::query("delete from inventory.journal where aggregate_id = $1")
        .bind(ids[0])
        .execute(&bed.database.pool)
        .await
        .unwrap();
    bed.remove(ids[0]).await;
    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.missing, run.findings.repaired), (1, 1));
    bed.arrive().await;
    assert_eq!(bed.reconcile(true).await.findings.differences(), 0);
    let listing = bed.listing(ids[0]).await.unwrap();
    assert_eq!((&listing["product_version"], &listing["stock_version"]), (&n(2), &n(2)));
    assert_eq!(listing["on_hand"], n(5));
}

#[tokio::test]
async fn listing_with_positions_from_before_a_restore_is_repaired() {
    let (bed, ids) = TestBed::with_products(2).await;
    let [product, stock] = ids[..] else { panic!("there are two") };
    for (id, name) in [(product, "product_position"), (stock, "stock_position")] {
        bed.overwrite_attribute(id, name, n(1_000_000)).await;
    }
    bed.overwrite_attribute(product, "content_hash", s("0123456789abcdef0123456789abcdef")).await;
    bed.overwrite_attribute(stock, "on_hand", n(8)).await;
    let run = bed.reconcile(false).await;
    assert_eq!(
        (run.findings.altered, run.findings.stock, run.findings.repaired),
        (1, 1, 2),
        "{run:?}"
    );
    bed.arrive().await;
    let run = bed.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    assert_eq!(bed.content(product).await.unwrap()["name"], s("Running shoe"));
}

#[tokio::test]
async fn stock_changed_without_a_journal_entry_is_announced() {
    let (bed, ids) = TestBed::with_products(2).await;
    let [first, later] = ids[..] else { panic!("there are two") };
    bed.set_stock(later, 7).await;
    bed.arrive().await;
    let by_hand = "update inventory.stock set on_hand = 9";
    sqlx::query(by_hand).execute(&bed.database.pool).await.unwrap();
    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.stock, run.findings.repaired), (2, 2), "{run:?}");
    bed.arrive().await;
    let run = bed.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    for id in [first, later] {
        assert_eq!(bed.content(id).await.unwrap()["on_hand"], n(9));
    }
}

#[tokio::test]
async fn product_restored_after_its_tombstone_expired_has_its_stock() {
    let (bed, ids) = TestBed::with_products(2).await;
    // The first has the stock that it was created with, the second has been counted since.
    bed.set_stock(ids[1], 7).await;
    bed.arrive().await;
    let mut before = Vec::new();
    for id in &ids {
        let listing = bed.listing(*id).await.unwrap();
        before.push((listing["on_hand"].clone(), listing["stock_version"].clone()));
        bed.delete(*id).await;
    }
    bed.arrive().await;
    for (id, before) in ids.iter().zip(before) {
        bed.remove(*id).await;
        bed.restore(*id).await;
        bed.arrive().await;
        let listing = bed.listing(*id).await.unwrap();
        assert_eq!((listing["on_hand"].clone(), listing["stock_version"].clone()), before);
        assert_eq!(listing["product_version"], n(3));
        assert!(listing["all_key"].as_s().unwrap().ends_with("#i"));
    }
}
