//! Repairs while the product changes, and while another repair of it is pending.

use futures::FutureExt as _;
use testkit::{Interference, locks_are_awaited};

use crate::test_bed::{TestBed, n, s};

#[tokio::test]
async fn repair_waits_for_a_change_of_its_product() {
    for lock in [
        "select 1 from inventory.products where id = $1 for update",
        "select 1 from inventory.stock where product_id = $1 for update",
    ] {
        let (bed, ids) = TestBed::with_products(1).await;
        bed.overwrite_attribute(ids[0], "content_hash", s(&"0".repeat(64))).await;
        bed.overwrite_attribute(ids[0], "on_hand", n(1_000)).await;
        let mut change = bed.database.pool.begin().await.unwrap();
        sqlx::query(lock).bind(ids[0]).execute(&mut *change).await.unwrap();
        let wait = async {
            locks_are_awaited(&bed.database.pool, 1).await;
            change.rollback().await.unwrap();
        };
        let (run, ()) = tokio::join!(bed.reconcile_products(&ids, false), wait);
        let found = run.findings;
        assert_eq!((found.differences(), found.repaired), (1, 1), "{lock}: {found:?}");
    }
}

#[tokio::test]
async fn repair_that_meets_another_keeps_the_greater_version_seen() {
    for (other, kept) in [(8, 9), (12, 12)] {
        let (bed, ids) = TestBed::with_products(1).await;
        let id = ids[0];
        bed.overwrite_attribute(id, "product_version", n(9)).await;
        let pool = bed.database.pool.clone();
        // Another pass has seen another version in the meantime.
        let requested = Interference::at("sync.looked", 1, move |_| {
            let pool = pool.clone();
            async move {
                let request =
                    "select inventory.republish(array[$1], array[$2], array[null::bigint], now())";
                sqlx::query(request).bind(id).bind(i64::from(other)).execute(&pool).await.unwrap();
            }
            .boxed()
        });
        let found = bed.reconcile_products(&ids, false).await.findings;
        assert_eq!(requested.take()["sync.looked"], 1);
        Interference::none();
        assert_eq!((found.ahead, found.repaired), (1, 1), "{found:?}");
        let stored = "select part, seen_version from inventory.repair_requests";
        let stored: (String, i64) =
            sqlx::query_as(stored).fetch_one(&bed.database.pool).await.unwrap();
        assert_eq!(stored, ("product".to_owned(), kept));
    }
}
