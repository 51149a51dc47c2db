//! Each kind of difference in a number of its own, so that no two can be mistaken for each other.

use serde_json::json;
use shared::id::ProductId;
use sync::Findings;
use testkit::Call;

use crate::test_bed::{RECONCILIATIONS, TestBed, n, s};

const MISSING: usize = 1;
const STALE: usize = 2;
const AHEAD: usize = 3;
const EXTRA: usize = 4;
const ALTERED: usize = 5;
const STOCK: usize = 6;

#[tokio::test]
async fn each_kind_of_difference_is_counted_under_its_name() {
    let (bed, ids) = TestBed::with_products(MISSING + STALE + AHEAD + ALTERED + STOCK).await;
    let mut rest = ids.iter().copied();
    let mut take = |count: usize| rest.by_ref().take(count).collect::<Vec<ProductId>>();
    let copied = bed.listing(ids[0]).await.unwrap();
    for id in take(STALE) {
        let before = bed.listing(id).await.unwrap();
        bed.change(id, json!({"name": "Other shoe"})).await;
        bed.arrive().await;
        bed.put(before).await;
    }
    for id in take(AHEAD) {
        bed.overwrite_attribute(id, "product_version", n(9)).await;
    }
    for id in take(ALTERED) {
        let hash = s("0123456789abcdef0123456789abcdef");
        bed.overwrite_attribute(id, "content_hash", hash).await;
    }
    for id in take(STOCK) {
        bed.overwrite_attribute(id, "on_hand", n(8)).await;
    }
    for id in take(MISSING) {
        bed.remove(id).await;
    }
    for nth in 0..EXTRA {
        let id = 0x0189_0000_0000_7000_8000_0000_0000_0100 + nth as u128;
        let mut copy = copied.clone();
        copy.extend(TestBed::key(ProductId::from_u128(id)));
        bed.put(copy).await;
    }

    let run = bed.reconcile(false).await;
    let all = ids.len() + EXTRA;
    let count = |count: usize| i64::try_from(count).unwrap();
    // Without `..`, so that a new field needs a count.
    let Findings {
        compared,
        missing,
        stale,
        ahead,
        extra,
        altered,
        stock,
        moving,
        repaired,
        oldest_divergence: _,
    } = run.findings;
    let found = [missing, stale, ahead, extra, altered, stock];
    let planted = [MISSING, STALE, AHEAD, EXTRA, ALTERED, STOCK].map(count);
    assert_eq!(found, planted, "{run:?}");
    assert_eq!([compared, repaired, moving], [count(all), count(all), 0]);
    assert_eq!(run.findings.differences(), count(all));

    let call = Call::get(&format!("{RECONCILIATIONS}/{}", run.id));
    let read = bed.ask_as_operator(call).await.expect(200).json;
    for (name, expected) in [
        ("missing", MISSING),
        ("stale", STALE),
        ("ahead", AHEAD),
        ("extra", EXTRA),
        ("altered", ALTERED),
        ("stock", STOCK),
        ("compared", all),
        ("repaired", all),
        ("moving", 0),
    ] {
        assert_eq!(read[name], json!(expected), "{name}: {read}");
    }
}
