use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shared::contract;
use shared::http;
use shared::id::{ProductId, SellerId};

use super::*;
use crate::http::input::{SentPatch, SentProduct};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn sent() -> Value {
    json!({
        "sku": "SHOE-42", "name": "Running shoe", "category": "shoes", "description": "Runs",
        "attributes": {"size": 42, "color": "red"}, "price": {"amount": 12990, "currency": "BRL"},
    })
}

fn checked(sent: &Value) -> Result<CreateProduct, Vec<FieldError>> {
    let sent: SentProduct = http::parse(sent.to_string().as_bytes()).unwrap();
    CreateProduct::check(sent.into())
}

fn shoe() -> Product {
    let command = checked(&sent()).unwrap();
    create(command, SellerId::from_u128(1), ProductId::from_u128(2), NOW).unwrap().0
}

fn patch(sent: &Value) -> ChangeProduct {
    http::parse::<SentPatch>(sent.to_string().as_bytes()).unwrap().into()
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
fn product_is_created_as_a_draft_or_active() {
    for (status, expected) in [
        (None, Some(Status::Active)),
        (Some("active"), Some(Status::Active)),
        (Some("draft"), Some(Status::Draft)),
        (Some("archived"), None),
        (Some("sold"), None),
    ] {
        let mut sent = sent();
        if let Some(status) = status {
            sent["status"] = json!(status);
        }
        let created = checked(&sent).map(|command| command.details.status);
        let refusal = FieldError::new("/status", "invalid", "must be draft or active");
        assert_eq!(created, expected.ok_or(vec![refusal]), "{status:?}");
    }
}

#[test]
fn command_for_another_version_is_refused() {
    let product = Product { version: 3, ..shoe() };
    let patch = patch(&json!({"name": "Other"}));
    for (expected, refusal) in [
        (Expected::Any, None),
        (Expected::OneOf(vec![3]), None),
        (Expected::OneOf(vec![2, 4]), Some(Refusal::Stale { current: 3 })),
    ] {
        assert_eq!(change(&product, &patch, &expected, NOW).err(), refusal, "{expected:?}");
        assert_eq!(delete(&product, &expected, NOW).err(), refusal, "{expected:?}");
    }
}

#[test]
fn patch_sets_and_removes_single_attributes() {
    let change = |sent: Value| change(&shoe(), &patch(&sent), &Expected::Any, NOW);
    let changed = change(json!({"attributes": {"size": null, "weight": 0.25}})).unwrap().unwrap();
    let expected = json!({"color": "red", "weight": 0.25});
    assert_eq!(serde_json::to_value(changed.attributes).unwrap(), expected);
    let many: Map<String, Value> = (0..49).map(|n| (format!("n{n}"), json!(n))).collect();
    let too_many = FieldError::new("/attributes", "invalid", "must be at most 50");
    assert_eq!(change(json!({"attributes": many})), Err(Refusal::Invalid(vec![too_many])));
}

#[test]
fn restored_product_is_the_one_before_its_deletion() {
    let before = shoe();
    let deleted = delete(&before, &Expected::Any, NOW).unwrap();
    assert_eq!((deleted.version, deleted.deleted_at), (2, Some(NOW)));
    let restored = Product { version: 3, ..before.clone() }.hashed();
    assert_eq!(restore(&deleted, NOW), Some(restored));
    assert_eq!(restore(&before, NOW), None);
}

#[test]
fn repair_raises_a_product_above_the_seen_version() {
    let before = Product { version: 3, ..shoe() };
    for (seen, raised) in [(2, None), (3, Some(4)), (9, Some(10))] {
        let expected = raised.map(|version| Product { version, ..before.clone() }.hashed());
        assert_eq!(raise(&before, seen, NOW), expected, "{seen}");
        let orphan = tombstone_for_orphan(before.id, seen, NOW);
        assert_eq!((orphan.id, orphan.version), (before.id, seen + 1));
        assert_eq!((orphan.deleted_at, &orphan.content_hash), (Some(NOW), &orphan.compute_hash()));
    }
}

/// Each text has another length, so that none stands for another.
#[test]
fn upper_bound_counts_each_text_and_attribute() {
    let texts = 7 + 12 + 5 + 4 + (4 + 5 + 3);
    assert_eq!(upper_bound(&shoe()), 6 * texts + 64 * 2 + 1024 + 512);
}

#[test]
fn largest_product_can_be_changed_and_its_event_fits() {
    let created = |length: usize, now| {
        let mut sent = sent();
        sent["attributes"]["notes"] = json!("x".repeat(length));
        let (seller, id) = (SellerId::from_u128(1), ProductId::from_u128(2));
        create(checked(&sent).unwrap(), seller, id, now).map(|(product, _)| product)
    };
    let largest = |now| {
        let (mut fits, mut too_large) = (0, MAX_DOCUMENT_BYTES);
        while too_large - fits > 1 {
            let middle = usize::midpoint(fits, too_large);
            if created(middle, now).is_ok() {
                fits = middle;
            } else {
                too_large = middle;
            }
        }
        fits
    };
    // A time with a fraction is longer in JSON, and the limit is the same.
    let now = DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap();
    let length = largest(now);
    assert_eq!(length, largest(NOW));
    let detail = "the product would have 65537 bytes; it may have 65536";
    let refusal = Refusal::Invalid(vec![FieldError::new("", "too_large", detail)]);
    assert_eq!(created(length + 1, now), Err(refusal));
    // As long a name, late in the life of the product.
    let product = created(length, now).unwrap();
    let late = Product { version: 1_000_000, deleted_at: Some(now), ..product }.hashed();
    let renamed = change(&late, &patch(&json!({"name": "Walking shoe"})), &Expected::Any, now);
    let document = serde_json::to_vec(&ProductRef::from(&renamed.unwrap().unwrap())).unwrap();
    assert!(document.len() <= MAX_DOCUMENT_BYTES, "{}", document.len());
}

#[test]
fn later_version_is_never_older() {
    let second = |n| DateTime::from_timestamp(n, 0).unwrap();
    let before = Product { updated_at: second(10), ..shoe() };
    let deleted = Product { deleted_at: Some(second(10)), ..before.clone() };
    let patch = patch(&json!({"name": "Other"}));
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
        let before = shoe();
        let Ok(patch) = http::parse::<SentPatch>(sent.to_string().as_bytes()) else {
            return Ok(());
        };
        let patch = ChangeProduct::from(patch);
        let Ok(Some(after)) = change(&before, &patch, &Expected::Any, NOW) else {
            return Ok(());
        };
        prop_assert_eq!(after.version, before.version + 1);
        prop_assert_eq!(&after.content_hash, &after.compute_hash());
        let stored = serde_json::to_string(&ProductRef::from(&after)).unwrap();
        let stored: contract::product::Product = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&Product::from(stored), &after);
        prop_assert_eq!(change(&after, &patch, &Expected::Any, NOW), Ok(None));
    }
}
