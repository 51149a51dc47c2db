//! Differences between the two stores.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;

use super::situation::Situation;

/// Plants a different number of differences of each kind. One cannot be repaired.
pub(super) async fn plant(it: &Situation) {
    let ids = it.create_many(25, 1_000).await;
    it.publish().await;
    it.project().await;
    // The first stays as it is. No bucket of the others was compared before.
    let (moving, rest) = ids[1..].split_at(7);
    let (missing, rest) = rest.split_at(1);
    let (stale, rest) = rest.split_at(2);
    let (ahead, rest) = rest.split_at(3);
    let (altered, stock) = rest.split_at(5);
    assert_eq!(stock.len(), 6);
    for id in missing {
        it.remove_listing(*id).await;
    }
    for id in stale {
        let old = it.listing(*id).await;
        it.rename(*id, "Another name").await;
        it.publish().await;
        it.project().await;
        it.put_listing(old).await;
    }
    let (by_hand, ahead) = ahead.split_at(1);
    it.execute_for("delete from inventory.stock where product_id = any($1)", by_hand).await;
    for id in ahead {
        it.overwrite(*id, "product_version", AttributeValue::N("9".to_owned())).await;
    }
    for nth in 1..=4 {
        let extra = ProductId::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0200 + nth);
        let mut copy = it.listing(ids[0]).await;
        copy.insert("bucket".to_owned(), AttributeValue::N(bucket_of(extra).to_string()));
        copy.insert("id".to_owned(), AttributeValue::S(extra.to_string()));
        it.put_listing(copy).await;
    }
    for id in altered {
        let hash = AttributeValue::S("0123456789abcdef0123456789abcdef".to_owned());
        it.overwrite(*id, "content_hash", hash).await;
    }
    for id in stock {
        it.overwrite(*id, "on_hand", AttributeValue::N("8".to_owned())).await;
    }
    for id in moving {
        it.rename(*id, "A name on its way").await;
    }
}
