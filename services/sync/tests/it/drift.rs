//! Every kind of drift is found, named and mended through the ordinary path.

use std::collections::HashMap;

use serde_json::json;
use shared::contract::sync_feed::bucket_of;
use sync::Settings;
use uuid::Uuid;

use crate::world::{TABLE, World, n, s, settings};

#[tokio::test]
async fn each_kind_of_drift_is_found_for_what_it_is_and_mended() {
    let (world, ids) = World::with_products(12).await;
    let [missing, stale, ahead, altered, stock, damaged, stock_ahead, ..] = ids[..] else {
        panic!("there are twelve");
    };
    let first = world.listing(stale).await.unwrap();
    world.change(stale, json!({"name": "Other shoe"})).await;
    world.set_stock(stock, 7).await;
    world.arrive().await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(world.content(*id).await);
    }
    let extra = Uuid::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0123);
    let mut copy = world.listing(missing).await.unwrap();
    copy.extend(World::key(extra));

    world.remove(missing).await;
    world.put(first).await;
    world.tamper(ahead, "product_version", n(9)).await;
    world.put(copy).await;
    world.tamper(altered, "content_hash", s("0123456789abcdef0123456789abcdef")).await;
    world.tamper(stock, "on_hand", n(8)).await;
    world.tamper(damaged, "held", s("none")).await;
    world.tamper(stock_ahead, "stock_version", n(4)).await;

    let run = world.reconcile(false).await;
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

    world.arrive().await;
    let run = world.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    assert!(world.listing(extra).await.unwrap().contains_key("deleted_at"));
    for (id, right) in ids.iter().zip(right) {
        let now = world.content(*id).await;
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
async fn a_deep_run_finds_what_was_altered_under_its_own_hash() {
    let (world, ids) = World::with_products(4).await;
    let right = world.content(ids[0]).await;
    world.tamper(ids[0], "name", s("Stolen shoe")).await;
    world.tamper(ids[1], "category_key", s("shoes#BRL#o")).await;
    assert_eq!(world.reconcile(false).await.findings.differences(), 0);
    let run = world.reconcile(true).await;
    assert_eq!((run.findings.altered, run.findings.differences()), (2, 2), "{run:?}");
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
    assert_eq!(world.content(ids[0]).await, right);
}

#[tokio::test]
async fn a_listing_that_claims_more_than_can_be_is_rewritten_under_the_true_version() {
    let (world, ids) = World::with_products(5).await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(world.content(*id).await);
    }
    let far = 1 + (1 << 32);
    world.tamper(ids[0], "product_version", n(i64::MAX)).await;
    world.tamper(ids[1], "stock_version", n(i64::MAX)).await;
    world.tamper(ids[2], "product_version", n(far + 1)).await;
    // It could have come so far, so what is true comes further.
    world.tamper(ids[3], "product_version", n(far)).await;
    world.tamper(ids[4], "product_version", n(i64::MAX)).await;
    world.tamper(ids[4], "product_position", n(i64::MAX)).await;
    let extra = Uuid::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0123);
    let mut copy = world.listing(ids[0]).await.unwrap();
    copy.extend(World::key(extra));
    world.put(copy).await;

    let run = world.reconcile(false).await;
    let found = [
        run.findings.altered,
        run.findings.stock,
        run.findings.ahead,
        run.findings.extra,
        run.findings.repaired,
        run.findings.moving,
    ];
    assert_eq!(found, [3, 1, 1, 1, 6, 0], "{run:?}");
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
    assert!(world.listing(extra).await.unwrap().contains_key("deleted_at"));
    for (nth, right) in right.into_iter().enumerate() {
        let mut now = world.content(ids[nth]).await.unwrap();
        if nth == 3 {
            assert_eq!(now.insert("product_version".to_owned(), n(1)), Some(n(far + 1)));
            // The hash is of the version, too; that it is right was just shown.
            now.insert("content_hash".to_owned(), right.as_ref().unwrap()["content_hash"].clone());
        }
        assert_eq!(Some(now), right, "{nth}");
    }
    // What is done next is seen.
    for id in ids {
        world.set_stock(id, 9).await;
        world.change(id, json!({"name": "Other shoe"})).await;
        world.arrive().await;
        let now = world.content(id).await.unwrap();
        assert_eq!((&now["on_hand"], &now["name"]), (&n(9), &s("Other shoe")));
    }
}

#[tokio::test]
async fn a_number_that_lies_between_two_doubles_is_the_same_everywhere() {
    let (world, ids) = World::with_products(1).await;
    let numbers = r#"{"attributes": {
        "a": 1.23456789012345e-90, "b": 9.87654321098765e-77, "c": 3.33333333333333e-50,
        "d": 7.77777777777777e-33, "e": 6.62607015123456e-34, "f": 1.60217663412345e-91
    }}"#;
    world.change_as_written(ids[0], numbers).await;
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
}

#[tokio::test]
async fn a_copy_under_another_key_is_no_listing() {
    let (world, ids) = World::with_products(2).await;
    let mut copy = world.listing(ids[0]).await.unwrap();
    let other = i64::from((bucket_of(ids[0]) + 1) % 1024);
    copy.insert("bucket".to_owned(), n(other));
    world.put(copy).await;
    for deep in [false, true] {
        let run = world.reconcile(deep).await;
        assert_eq!(
            (run.findings.compared, run.findings.differences(), run.findings.moving),
            (2, 0, 0),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn listings_that_were_deleted_altogether_are_rebuilt() {
    let (world, ids) = World::with_products(20).await;
    world.change(ids[3], json!({"status": "archived"})).await;
    world.set_stock(ids[4], 0).await;
    world.delete(ids[5]).await;
    world.arrive().await;
    let mut right = Vec::new();
    for id in &ids {
        right.push(world.content(*id).await);
    }
    world.client.delete_table().table_name(TABLE).send().await.unwrap();
    catalog::table::ensure(&world.client, TABLE).await.unwrap();

    let run = world.reconcile(false).await;
    assert_eq!((run.findings.missing, run.findings.repaired), (20, 20), "{run:?}");
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
    for (id, right) in ids.iter().zip(right) {
        if *id != ids[5] {
            assert_eq!(world.content(*id).await, right);
        }
    }
    let tombstone = world.listing(ids[5]).await.unwrap();
    assert!(tombstone.contains_key("deleted_at"));
}

#[tokio::test]
async fn a_bucket_is_walked_to_the_end_of_its_last_page() {
    let mut world = World::new().await;
    world.reconciler = world.reconciler.with_settings(Settings { page: 1, ..settings() });
    // Until a bucket has two pages.
    let mut last_of = HashMap::new();
    let last = loop {
        let id = world.create(&format!("SKU-{}", last_of.len()), "shoes").await;
        if let Some(other) = last_of.insert(bucket_of(id), id) {
            break id.max(other);
        }
    };
    world.arrive().await;
    world.remove(last).await;
    let run = world.reconcile(false).await;
    assert_eq!(
        (run.findings.missing, run.findings.differences(), run.findings.repaired),
        (1, 1, 1),
        "{run:?}"
    );
    world.arrive().await;
    assert!(world.listing(last).await.is_some());
}

#[tokio::test]
async fn a_product_that_was_deleted_long_ago_needs_no_tombstone() {
    let (world, ids) = World::with_products(2).await;
    world.delete(ids[0]).await;
    world.arrive().await;
    // As its time to live would.
    let tombstone = world.listing(ids[0]).await.unwrap();
    world.remove(ids[0]).await;
    let run = world.reconcile(false).await;
    assert_eq!(run.findings.missing, 1, "within 35 days it guards against late events");
    world.arrive().await;
    assert_eq!(world.listing(ids[0]).await.unwrap()["deleted_at"], tombstone["deleted_at"]);

    world.remove(ids[0]).await;
    world.clock.advance(std::time::Duration::from_hours(36 * 24));
    assert_eq!(world.reconcile(false).await.findings.differences(), 0);
}

#[tokio::test]
async fn a_product_whose_journal_was_cut_is_announced_under_a_new_version() {
    let (world, ids) = World::with_products(2).await;
    sqlx::query("delete from inventory.journal where aggregate_id = $1")
        .bind(ids[0])
        .execute(&world.database.pool)
        .await
        .unwrap();
    world.remove(ids[0]).await;
    let run = world.reconcile(false).await;
    assert_eq!((run.findings.missing, run.findings.repaired), (1, 1));
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
    let listing = world.listing(ids[0]).await.unwrap();
    assert_eq!((&listing["product_version"], &listing["stock_version"]), (&n(2), &n(2)));
    assert_eq!(listing["on_hand"], n(5));
}

#[tokio::test]
async fn a_listing_that_has_seen_positions_from_before_a_restore_is_mended_all_the_same() {
    let (world, ids) = World::with_products(2).await;
    let [product, stock] = ids[..] else { panic!("there are two") };
    for (id, name) in [(product, "product_position"), (stock, "stock_position")] {
        world.tamper(id, name, n(1_000_000)).await;
    }
    world.tamper(product, "content_hash", s("0123456789abcdef0123456789abcdef")).await;
    world.tamper(stock, "on_hand", n(8)).await;
    let run = world.reconcile(false).await;
    assert_eq!(
        (run.findings.altered, run.findings.stock, run.findings.repaired),
        (1, 1, 2),
        "{run:?}"
    );
    world.arrive().await;
    let run = world.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    assert_eq!(world.content(product).await.unwrap()["name"], s("Running shoe"));
}

#[tokio::test]
async fn a_stock_that_was_changed_behind_the_journals_back_is_announced_as_it_is() {
    let (world, ids) = World::with_products(2).await;
    let [first, later] = ids[..] else { panic!("there are two") };
    world.set_stock(later, 7).await;
    world.arrive().await;
    let by_hand = "update inventory.stock set on_hand = 9";
    sqlx::query(by_hand).execute(&world.database.pool).await.unwrap();
    let run = world.reconcile(false).await;
    assert_eq!((run.findings.stock, run.findings.repaired), (2, 2), "{run:?}");
    world.arrive().await;
    let run = world.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
    for id in [first, later] {
        assert_eq!(world.content(id).await.unwrap()["on_hand"], n(9));
    }
}

#[tokio::test]
async fn a_product_that_is_restored_after_its_tombstone_was_dropped_has_its_stock() {
    let (world, ids) = World::with_products(2).await;
    // One whose stock has travelled with the product, and one whose stock was counted since.
    world.set_stock(ids[1], 7).await;
    world.arrive().await;
    let mut before = Vec::new();
    for id in &ids {
        let listing = world.listing(*id).await.unwrap();
        before.push((listing["on_hand"].clone(), listing["stock_version"].clone()));
        world.delete(*id).await;
    }
    world.arrive().await;
    for (id, before) in ids.iter().zip(before) {
        world.remove(*id).await;
        world.restore(*id).await;
        world.arrive().await;
        let listing = world.listing(*id).await.unwrap();
        assert_eq!((listing["on_hand"].clone(), listing["stock_version"].clone()), before);
        assert_eq!(listing["product_version"], n(3));
        assert!(listing["all_key"].as_s().unwrap().ends_with("#i"));
    }
}
