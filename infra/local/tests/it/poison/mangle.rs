//! Ways to make a message unreadable.

use serde_json::{Value, json};

/// Makes a message unreadable.
type Mangle = fn(&str) -> String;

/// Name and function of each way.
pub(super) const KINDS: [(&str, Mangle); 28] = [
    ("no JSON at all", |_| "no JSON at all".to_owned()),
    ("an empty body", |_| String::new()),
    ("a truncated body", |body| body.chars().take(body.chars().count() / 2).collect()),
    ("a trailing character", |body| format!("{body}}}")),
    ("null", |_| "null".to_owned()),
    ("a list with the envelope", |body| format!("[{body}]")),
    ("the envelope as a string", |body| Value::from(body).to_string()),
    ("a control character", |body| body.replacen("\"source\":\"", "\"source\":\"\n", 1)),
    ("a lone surrogate", |body| body.replacen("\"source\":\"", "\"source\":\"\\ud800", 1)),
    ("a duplicate type", |body| body.replacen('{', "{\"type\":\"StockChanged\",", 1)),
    ("no type", |body| without(body, "type")),
    ("no subject", |body| without(body, "subject")),
    ("no time", |body| without(body, "time")),
    ("no position", |body| without(body, "position")),
    ("no data", |body| without(body, "data")),
    ("empty data", |body| with(body, "data", json!({}))),
    ("a type that is a number", |body| with(body, "type", json!(7))),
    ("a position that is a string", |body| with(body, "position", json!("1"))),
    ("a position beyond the range of a float", |body| {
        with(body, "position", json!("?")).replacen("\"?\"", "1e400", 1)
    }),
    ("an invalid time", |body| with(body, "time", json!("2026-02-30T00:00:00Z"))),
    ("an id with a null character", |body| with(body, "id", json!("\0"))),
    ("a huge string for a number", |body| with(body, "position", json!("x".repeat(1_000_000)))),
    ("deeply nested data", |body| deep(body, "data")),
    ("a deeply nested unknown field", |body| deep(body, "extension")),
    ("a future schema version", |body| with(body, "schemaversion", json!(2))),
    ("another envelope version", |body| with(body, "specversion", json!("0.3"))),
    ("another source", |body| with(body, "source", json!("another/source"))),
    ("another product's subject", |body| {
        with(body, "subject", json!("01890000-0000-7000-8000-000000000123"))
    }),
];

fn edited(body: &str, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let mut envelope: Value = serde_json::from_str(body).unwrap();
    edit(envelope.as_object_mut().unwrap());
    envelope.to_string()
}

fn with(body: &str, field: &str, value: Value) -> String {
    edited(body, |envelope| drop(envelope.insert(field.to_owned(), value)))
}

fn without(body: &str, field: &str) -> String {
    edited(body, |envelope| drop(envelope.remove(field)))
}

fn deep(body: &str, field: &str) -> String {
    let depth = 10_000;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    with(body, field, json!("?")).replacen("\"?\"", &nested, 1)
}
