//! What a value may be, by every way that it comes in: created alone, in a batch, or changed. The tables
//! have the values at each limit and beyond it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use testkit::{Call, TestResponse};

use crate::{TestService, assert_problem, path_of, post, shoe};

/// Stands for a value in a body, so that a number that JSON libraries would round is sent as it is.
const PLACE: &str = "@value@";

/// A document with `value`, as JSON, at a JSON Pointer.
fn with(mut document: Value, pointer: &str, value: &str) -> String {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let mut place = &mut document;
    for name in parent.split('/').skip(1) {
        place = &mut place[name];
    }
    place[field] = json!(PLACE);
    document.to_string().replace(&format!("\"{PLACE}\""), value)
}

fn text(length: usize) -> String {
    json!("é".repeat(length)).to_string()
}

fn attributes(count: usize) -> String {
    // The longest keys.
    let attributes: Value = (0..count).map(|nth| (format!("{nth:064}"), json!(nth))).collect();
    attributes.to_string()
}

/// Values that are refused however they come in.
fn refused() -> Vec<(String, String)> {
    let key = |key: &str| (format!("/attributes/{key}"), "1".to_owned());
    let mut refused = vec![
        key(""),
        key(" "),
        key("a\nb"),
        key("a\u{0}"),
        key("\u{200b}"),
        key("\u{202e}"),
        key(&"k".repeat(65)),
        ("/price".to_owned(), "12990".to_owned()),
        ("/attributes".to_owned(), attributes(51)),
    ];
    for (pointer, values) in [
        ("/sku", &[r#""""#, "5", "null", r#""a b""#, r#""a\u200bb""#, r#""a\u0000""#][..]),
        ("/name", &[r#""""#, r#"" \u200b""#, "null", r#""a\nb""#, r#""\u202eevil""#, "[]"]),
        ("/description", &[r#""""#, r#""a\u0000b""#, r#""\u202e""#, "1"]),
        ("/category", &[r#""""#, r#""-shoes""#, r#""Shoes""#, r#""a_b""#, r#""a b""#, "null"]),
        ("/price/amount", &["-1", "129.9", r#""1""#, "1000000000001", "1e300", "null"]),
        ("/price/currency", &[r#""brl""#, r#""""#, r#""XXX""#, "1", "null"]),
        ("/status", &[r#""deleted""#, r#""""#, "1"]),
        ("/attributes", &["[]", "1"]),
        ("/attributes/size", &[r#""""#, r#""\u202e""#, r#""\u0000""#]),
        ("/attributes/size", &UNREADABLE),
        ("/unknown", &["1"]),
        ("/id", &[r#""x""#]),
        ("/version", &["1"]),
        ("/price/cents", &["1"]),
    ] {
        for value in values {
            refused.push((pointer.to_owned(), (*value).to_owned()));
        }
    }
    for (pointer, limit) in [("/sku", 64), ("/name", 200), ("/description", 10_000)] {
        refused.push((pointer.to_owned(), text(limit + 1)));
    }
    refused.push(("/category".to_owned(), json!("x".repeat(65)).to_string()));
    refused
}

/// Values that no attribute can have: reading them fails, and the fault is at the attributes.
const UNREADABLE: [&str; 7] =
    ["{\"a\":1}", "[1]", "1e15", "1000000000000000", "1e200", "1e400", "0.12345678901234567"];

/// Where the fault of a refused value is.
fn place_of<'a>(pointer: &'a str, value: &str) -> &'a str {
    if UNREADABLE.contains(&value) { "/attributes" } else { pointer }
}

/// Values that are refused of a new product: a change may remove an attribute or archive a product,
/// and has no stock.
const REFUSED_AT_FIRST: [(&str, &str); 6] = [
    ("/attributes/size", "null"),
    ("/status", "\"archived\""),
    ("/stock/on_hand", "-1"),
    ("/stock/on_hand", "1.5"),
    ("/stock/on_hand", "1000000001"),
    ("/stock/on_hand", "\"1\""),
];

/// The values at each limit.
fn accepted() -> Vec<(&'static str, String)> {
    vec![
        ("/sku", json!("é").to_string()),
        ("/sku", text(64)),
        ("/name", json!("é").to_string()),
        ("/name", text(200)),
        ("/description", json!("a\n\tb").to_string()),
        ("/description", text(10_000)),
        ("/category", json!("x").to_string()),
        ("/category", json!("9-x".to_owned() + &"-".repeat(61)).to_string()),
        ("/attributes", attributes(50)),
        ("/attributes/size", "999999999999999".to_owned()),
        ("/attributes/size", "-999999999999999".to_owned()),
        ("/price/amount", "0".to_owned()),
        ("/price/amount", "1000000000000".to_owned()),
        ("/price/currency", "\"JPY\"".to_owned()),
        ("/status", "\"draft\"".to_owned()),
    ]
}

fn pointer_of(problem: &Value) -> &str {
    let faults = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    match faults {
        [fault] => fault["pointer"].as_str().unwrap(),
        _ => panic!("one fault, not {problem}"),
    }
}

async fn change(service: &TestService, path: &str, patch: String) -> TestResponse {
    let call = Call::patch(path).header("if-match", "*");
    service.send(call.header("content-type", "application/merge-patch+json").bytes(patch)).await
}

async fn post_batch(service: &TestService, items: &[String]) -> Vec<Value> {
    let batch = format!("{{\"items\": [{}]}}", items.join(","));
    let call = Call::post("/v1/products/batch").header("content-type", "application/json");
    let response = service.send(call.bytes(batch)).await.expect(200);
    response.json["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn values_that_a_store_cannot_keep_are_refused() {
    let service = TestService::new().await;
    let created = service.create("OTHER").await;
    let (path, mut new) = (path_of(&created), refused());
    for (pointer, value) in &new {
        let changed = change(&service, &path, with(json!({}), pointer, value)).await;
        assert_problem(&changed, 422);
        assert_eq!(pointer_of(&changed.json), place_of(pointer, value), "PATCH {pointer} {value}");
    }
    let at_first = REFUSED_AT_FIRST.iter();
    new.extend(at_first.map(|(pointer, value)| ((*pointer).to_owned(), (*value).to_owned())));
    let bodies = new.iter().map(|(pointer, value)| with(shoe("SHOE-1"), pointer, value));
    let bodies: Vec<String> = bodies.collect();
    for ((pointer, value), body) in new.iter().zip(&bodies) {
        let posted = post(&service, body.clone()).await;
        assert_problem(&posted, 422);
        assert_eq!(pointer_of(&posted.json), place_of(pointer, value), "POST {pointer} {value}");
    }
    let mut results = Vec::new();
    for bodies in bodies.chunks(100) {
        results.extend(post_batch(&service, bodies).await);
    }
    assert_eq!(results.len(), new.len());
    for ((pointer, value), result) in new.iter().zip(&results) {
        assert_eq!(result["status"], 422, "{pointer} {value}: {result}");
        let at = pointer_of(&result["problem"]);
        assert_eq!(at, place_of(pointer, value), "batch {pointer} {value}");
    }
    for table in ["products", "journal"] {
        assert_eq!(service.count(table).await, 1, "{table}");
    }
    assert_eq!(service.send(Call::get(&path)).await.expect(200).json, created.json);
}

#[tokio::test]
async fn value_at_each_limit_is_kept_as_it_was_sent() {
    let service = TestService::new().await;
    let changed = path_of(&service.create("CHANGED").await);
    let read = async |product: &Value| {
        let path = format!("/v1/products/{}", product["id"].as_str().unwrap());
        service.send(Call::get(&path)).await.expect(200).json
    };
    let mut items = Vec::new();
    for (nth, (pointer, value)) in accepted().iter().enumerate() {
        let expected: Value = serde_json::from_str(value).unwrap();
        // An attribute more than the limit, if the first ones stayed.
        change(&service, &changed, json!({"attributes": null}).to_string()).await.expect(200);
        let patched = change(&service, &changed, with(json!({}), pointer, value)).await;
        let patched = read(&patched.expect(200).json).await;
        assert_eq!(patched.pointer(pointer), Some(&expected), "PATCH {pointer} {value}");
        change(&service, &changed, json!({"sku": "CHANGED"}).to_string()).await.expect(200);

        let posted = post(&service, with(shoe(&format!("POST-{nth}")), pointer, value)).await;
        let posted = posted.expect(201);
        let shown = read(&posted.json).await;
        assert_eq!(shown.pointer(pointer), Some(&expected), "POST {pointer} {value}");
        // Its SKU is free again.
        let call = Call::delete(&path_of(&posted)).header("if-match", "*");
        service.send(call).await.expect(204);
        items.push(with(shoe(&format!("BATCH-{nth}")), pointer, value));
    }
    for ((pointer, value), result) in accepted().iter().zip(post_batch(&service, &items).await) {
        assert_eq!(result["status"], 201, "{pointer} {value}: {result}");
        let expected: Value = serde_json::from_str(value).unwrap();
        let shown = read(&result["product"]).await;
        assert_eq!(shown.pointer(pointer), Some(&expected), "batch {pointer} {value}");
    }
}

#[test]
fn every_field_has_a_value_at_its_limit_and_beyond() {
    let api = serde_json::to_value(inventory::routes().to_openapi()).unwrap();
    let schemas = &api["components"]["schemas"];
    let fields = |name: &str, prefix: &str| -> Vec<String> {
        let properties = schemas[name]["properties"].as_object().unwrap();
        properties.keys().map(|field| format!("{prefix}/{field}")).collect()
    };
    let mut expected = BTreeSet::from_iter(fields("NewProduct", ""));
    expected.extend(fields("ProductPatch", ""));
    expected.extend(fields("NewPrice", "/price"));
    // These are objects of the fields above, and a stock has tests of its own.
    expected.remove("/price");
    expected.remove("/stock");
    let values = accepted();
    let accepted: BTreeSet<&str> = values.iter().map(|(pointer, _)| *pointer).collect();
    let values = refused();
    let refused: BTreeSet<&str> = values.iter().map(|(pointer, _)| pointer.as_str()).collect();
    for field in &expected {
        assert!(accepted.contains(&field[..]), "{field} has no value at its limit");
        assert!(refused.contains(&field[..]), "{field} has no value beyond its limit");
    }
}

#[tokio::test]
async fn attributes_are_counted_as_they_are_after_a_change() {
    let service = TestService::new().await;
    let full = with(shoe("FULL"), "/attributes", &attributes(50));
    let path = path_of(&post(&service, full).await.expect(201));
    let refused = change(&service, &path, json!({"attributes": {"new": 1}}).to_string()).await;
    assert_eq!(pointer_of(&refused.expect(422).json), "/attributes");
    let first = format!("{:064}", 0);
    let exchange = Map::from_iter([(first, Value::Null), ("new".to_owned(), json!(1))]);
    let changed = change(&service, &path, json!({"attributes": exchange}).to_string()).await;
    let changed = changed.expect(200).json;
    assert_eq!(changed["attributes"].as_object().unwrap().len(), 50);
    assert_eq!(changed["attributes"]["new"], 1);
}

#[tokio::test]
async fn stock_may_be_zero_to_a_billion_by_every_way() {
    let service = TestService::new().await;
    for (sku, on_hand) in [("NONE", 0_i64), ("MOST", 1_000_000_000)] {
        let new = with(shoe(sku), "/stock/on_hand", &on_hand.to_string());
        let stock = format!("{}/stock", path_of(&post(&service, new).await.expect(201)));
        let shown =
            async || service.send(Call::get(&stock)).await.expect(200).json["on_hand"].clone();
        assert_eq!(shown().await, on_hand);
        let inside = if on_hand == 0 { 1 } else { -1 };
        let set = async |on_hand: i64| {
            let call = Call::put(&stock).header("if-match", "*");
            service.send(call.json(&json!({"on_hand": on_hand}))).await
        };
        let adjust = async |delta: i64| {
            let body = json!({"delta": delta, "reason": "counted"});
            service.send(Call::post(&format!("{stock}/adjustments")).json(&body)).await
        };
        adjust(inside).await.expect(200);
        assert_eq!(adjust(-inside).await.expect(200).json["on_hand"], on_hand);
        assert_eq!(adjust(-inside).await.expect(409).code(), "stock_out_of_range");
        set(on_hand + inside).await.expect(200);
        assert_eq!(set(on_hand).await.expect(200).json["on_hand"], on_hand);
        let refused = set(on_hand - inside).await.expect(422);
        assert_eq!(pointer_of(&refused.json), "/on_hand");
        assert_eq!(shown().await, on_hand);
    }
}

#[tokio::test]
async fn reason_is_one_visible_line_of_at_most_200_characters() {
    let service = TestService::new().await;
    let stock = format!("{}/stock", path_of(&service.create("SHOE-1").await));
    let adjust = async |reason: Value| {
        let body = json!({"delta": 1, "reason": reason});
        service.send(Call::post(&format!("{stock}/adjustments")).json(&body)).await
    };
    let long = "é".repeat(201);
    for reason in ["", " ", &long, "a\nb", "a\u{0}", "\u{202e}", "\u{200b}"] {
        let refused = adjust(json!(reason)).await;
        assert_problem(&refused, 422);
        assert_eq!(pointer_of(&refused.json), "/reason", "{reason:?}");
    }
    assert_eq!(service.count("journal").await, 1);
    let longest = "é".repeat(200);
    for reason in ["é", &longest] {
        adjust(json!(reason)).await.expect(200);
        let kept: String = sqlx::query_scalar(
            "select reason from inventory.journal where reason is not null
             order by version desc limit 1",
        )
        .fetch_one(&service.pool)
        .await
        .unwrap();
        assert_eq!(kept, reason);
    }
}
