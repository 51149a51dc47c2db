//! Raw DynamoDB requests: the ceilings are measured without a client library.

use std::collections::HashMap;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::load;

/// Writes a request for `operation`.
///
/// The protocol needs a signature. The local store does not check it.
pub(crate) fn call(operation: &str, body: &str, buffer: &mut Vec<u8>) {
    let headers = format!(
        "content-type: application/x-amz-json-1.0\r\n\
         x-amz-target: DynamoDB_20120810.{operation}\r\n\
         x-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature=0000\r\n"
    );
    load::post("/", &headers, body, buffer);
}

/// An item in DynamoDB's JSON format, as `serde_dynamo` writes it.
pub(crate) fn item(source: &impl Serialize) -> anyhow::Result<Value> {
    let value = serde_json::to_value(source).context("writing an item")?;
    let fields = value.as_object().context("an item must have fields")?;
    Ok(fields.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
}

/// An item as the local store represents it.
pub(crate) fn stored(
    source: &impl Serialize,
) -> anyhow::Result<HashMap<String, dynoxide::AttributeValue>> {
    serde_json::from_value(item(source)?).context("the store cannot read an item")
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(items) => json!({ "L": items.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(fields) => {
            let fields: serde_json::Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
            json!({ "M": fields })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_in_the_format_of_dynamodb() {
        let written = item(&json!({ "a": 1, "b": "x", "c": [true], "d": { "e": 2.5 } })).unwrap();
        let wanted = json!({
            "a": { "N": "1" }, "b": { "S": "x" }, "c": { "L": [{ "BOOL": true }] },
            "d": { "M": { "e": { "N": "2.5" } } }
        });
        assert_eq!(written, wanted);
    }
}
