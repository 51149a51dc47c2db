use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shared::contract;
use shared::http;
use shared::id::{ProductId, SellerId};

use super::*;
use crate::http::input::{SentPatch, SentProduct};

fn shoe() -> Product {
    let sent = json!({
        "sku": "SHOE-42", "name": "Running shoe", "category": "shoes", "description": "Runs",
        "attributes": {"size": 42, "color": "red"}, "price": {"amount": 12990, "currency": "BRL"},
    });
    let sent: SentProduct = http::parse(sent.to_string().as_bytes()).unwrap();
    let command = CreateProduct::check(sent.into()).unwrap();
    create(command, SellerId::from_u128(1), ProductId::from_u128(2), DateTime::UNIX_EPOCH)
        .unwrap()
        .0
}

fn values() -> impl Strategy<Value = Value> {
    let good = prop::sample::select(vec![
        json!(null),
        json!("hats"),
        json!("draft"),
        json!("USD"),
        json!(0),
        json!(1.5),
        json!(true),
        json!({"amount": 5}),
        json!({"currency": "USD"}),
        json!({"size": null, "weight": 0.25}),
    ]);
    let leaf = prop_oneof![
        4 => good,
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..3)
                .prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

fn patches() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "sku",
        "name",
        "description",
        "category",
        "attributes",
        "price",
        "status",
    ]);
    prop::collection::vec((field.prop_map(str::to_owned), values()), 0..3)
        .prop_map(|members| Value::from(Map::from_iter(members)))
}

#[test]
fn later_version_is_never_older() {
    let second = |n| DateTime::from_timestamp(n, 0).unwrap();
    let before = Product { updated_at: second(10), ..shoe() };
    let deleted = Product { deleted_at: Some(second(10)), ..before.clone() };
    let patch = ChangeProduct { name: Patch::Set("Other".to_owned()), ..ChangeProduct::default() };
    for (now, expected) in [(9, 10), (10, 10), (11, 11)] {
        let (now, expected) = (second(now), second(expected));
        let deletion = delete(&before, &Expected::Any, now).unwrap();
        assert_eq!(deletion.deleted_at, Some(expected), "the tombstone is kept from then on");
        let changes = [
            change(&before, &patch, &Expected::Any, now).unwrap().unwrap(),
            restore(&deleted, now).unwrap(),
            raise(&before, 3, now).unwrap(),
            deletion,
        ];
        assert_eq!(changes.map(|product| product.updated_at), [expected; 4]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// RFC 7396: a merge patch is idempotent.
    #[test]
    fn accepted_patch_changes_a_product_once(sent in patches()) {
        let (before, now) = (shoe(), DateTime::UNIX_EPOCH);
        let Ok(patch) = http::parse::<SentPatch>(sent.to_string().as_bytes()) else {
            return Ok(());
        };
        let patch = ChangeProduct::from(patch);
        let Ok(Some(after)) = change(&before, &patch, &Expected::Any, now) else {
            return Ok(());
        };
        prop_assert_eq!(after.version, before.version + 1);
        prop_assert_eq!(&after.content_hash, &after.compute_hash());
        let stored = serde_json::to_string(&ProductRef::from(&after)).unwrap();
        let stored: contract::product::Product = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&Product::from(stored), &after);
        prop_assert_eq!(change(&after, &patch, &Expected::Any, now), Ok(None));
    }
}
