//! The relay takes what waits longest first, events as well as repairs.

use std::time::Duration;

use shared::host::tick::Progress;
use shared::id::ProductId;

use crate::TestService;
use crate::relay::{bus, relay, subjects};

async fn products(service: &TestService, count: usize) -> Vec<ProductId> {
    let mut ids = Vec::with_capacity(count);
    for n in 0..count {
        let product = service.create(&format!("SHOE-{n}")).await;
        ids.push(product.json["id"].as_str().unwrap().parse().unwrap());
    }
    ids
}

#[tokio::test]
async fn events_are_published_oldest_first() {
    let service = TestService::new().await;
    let mut created = products(&service, 110).await;
    // The last ones are first, so that neither the ids nor the rows are in the order of the positions.
    let reverse = "with pointers as (delete from inventory.outbox returning *)
         insert into inventory.outbox (position, aggregate, aggregate_id, version, committed_at)
         overriding system value
         select 1000 - position, aggregate, aggregate_id, version, committed_at from pointers";
    sqlx::query(reverse).execute(&service.pool).await.unwrap();
    created.reverse();
    let relay = relay(&service, bus(&service));
    assert_eq!(relay.once().await.unwrap(), Progress::More);
    assert_eq!(subjects(&service).await, created[..100]);
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    assert_eq!(subjects(&service).await, created);
}

#[tokio::test]
async fn repairs_are_made_in_the_order_of_their_requests() {
    let service = TestService::new().await;
    let ids = products(&service, 4).await;
    let order = [ids[2], ids[0], ids[3], ids[1]];
    for (id, seen) in order.iter().zip([7, 30, 5, 11]) {
        service.request_repair(*id, seen).await;
        service.clock.advance(Duration::from_secs(1));
    }
    let relay = relay(&service, bus(&service));
    for (made, seen) in [7, 30, 5, 11].into_iter().enumerate() {
        assert_eq!(relay.repair().await.unwrap(), Progress::More);
        let left: Vec<ProductId> = sqlx::query_scalar(
            "select product_id from inventory.repair_requests order by requested_at",
        )
        .fetch_all(&service.pool)
        .await
        .unwrap();
        assert_eq!(left, order[made + 1..]);
        let version: i64 =
            sqlx::query_scalar("select version from inventory.products where id = $1")
                .bind(order[made])
                .fetch_one(&service.pool)
                .await
                .unwrap();
        assert_eq!(version, seen + 1);
    }
}
