//! Ways for a message to be unreadable.

use serde_json::{Value, json};

/// Makes a message unreadable.
type Mangle = fn(&str) -> String;

/// What each way is called, and how it is done.
pub(super) const KINDS: [(&str, Mangle); 28] = [
    ("no JSON at all", |_| "no JSON at all".to_owned()),
    ("nothing", |_| String::new()),
    ("half of it", |body| body.chars().take(body.chars().count() / 2).collect()),
    ("something behind it", |body| format!("{body}}}")),
    ("null", |_| "null".to_owned()),
    ("a list of it", |body| format!("[{body}]")),
    ("a text of it", |body| Value::from(body).to_string()),
    ("a control character", |body| body.replacen("\"source\":\"", "\"source\":\"\n", 1)),
    ("half a character", |body| body.replacen("\"source\":\"", "\"source\":\"\\ud800", 1)),
    ("two types", |body| body.replacen('{', "{\"type\":\"StockChanged\",", 1)),
    ("no type", |body| without(body, "type")),
    ("no subject", |body| without(body, "subject")),
    ("no time", |body| without(body, "time")),
    ("no position", |body| without(body, "position")),
    ("no data", |body| without(body, "data")),
    ("data of nothing", |body| with(body, "data", json!({}))),
    ("a type that is a number", |body| with(body, "type", json!(7))),
    ("a position that is a text", |body| with(body, "position", json!("1"))),
    ("a position beyond all numbers", |body| {
        with(body, "position", json!("?")).replacen("\"?\"", "1e400", 1)
    }),
    ("a time that is none", |body| with(body, "time", json!("2026-02-30T00:00:00Z"))),
    ("an id with a null character", |body| with(body, "id", json!("\0"))),
    ("a huge text for a number", |body| with(body, "position", json!("x".repeat(1_000_000)))),
    ("data of a great depth", |body| deep(body, "data")),
    ("an unknown field of a great depth", |body| deep(body, "extension")),
    ("a schema of the future", |body| with(body, "schemaversion", json!(2))),
    ("an envelope of another kind", |body| with(body, "specversion", json!("0.3"))),
    ("somebody else's", |body| with(body, "source", json!("somebody/else"))),
    ("another product's", |body| {
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
