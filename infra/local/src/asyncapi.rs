//! The description of the events, generated from their types.

use serde_json::{Value, json};
use shared::contract::envelope::Envelope;
use shared::contract::inventory::Event;

/// An AsyncAPI 3.0 document.
pub fn document() -> Value {
    let schema = schemars::schema_for!(Envelope);
    let messages: serde_json::Map<String, Value> = Event::TYPES
        .iter()
        .map(|name| {
            let message = json!({
                "name": name,
                "contentType": "application/cloudevents+json",
                "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12",
                            "schema": {"$ref": "#/components/schemas/Envelope"}},
            });
            ((*name).to_owned(), message)
        })
        .collect();
    let references: Vec<Value> = Event::TYPES
        .iter()
        .map(|name| json!({"$ref": format!("#/channels/products/messages/{name}")}))
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitrina events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every change of a product or its stock, at least once, in any order. \
                            An event carries the whole state of its aggregate: apply it if its \
                            (version, position) is greater than what you have.",
        },
        "channels": {"products": {"address": "vitrina", "messages": messages}},
        "operations": {"announce": {
            "action": "send", "channel": {"$ref": "#/channels/products"}, "messages": references,
        }},
        "components": {"schemas": {"Envelope": schema}},
    })
}
