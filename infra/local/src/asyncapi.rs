//! The description of the events: producers, their events and the queues that get them, generated
//! from the types and from the table of routes.

use serde_json::{Map, Value, json};
use shared::contract::routes::{self, ROUTES, event_bridge_source};

use crate::edition::parts::{Producer, SERVICES};

/// The messages of a producer.
fn messages(producer: &Producer) -> Value {
    let message = |name: &&'static str| {
        let message = json!({
            "name": name,
            "contentType": "application/cloudevents+json",
            "payload": {
                "schemaFormat": "application/schema+json;version=draft-2020-12",
                "schema": {"$ref": format!("#/components/schemas/{}", producer.envelope)},
            },
        });
        ((*name).to_owned(), message)
    };
    producer.types.iter().map(message).collect()
}

/// An AsyncAPI 3.0 document.
pub fn document() -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let mut schemas = Map::new();
    let producers: Vec<Producer> =
        SERVICES.iter().filter_map(|service| service.producer.map(|producer| producer())).collect();
    for producer in &producers {
        let Producer { channel, operation, source, types, .. } = producer;
        let event_bridge = event_bridge_source(source);
        let description = format!(
            "Every event whose source is `{source}`. Rules of EventBridge match it by the source \
             `{event_bridge}` and by its type."
        );
        channels.insert(
            (*channel).to_owned(),
            json!({
                "address": "vitrina", "description": description, "messages": messages(producer),
            }),
        );
        operations.insert((*operation).to_owned(), describe("send", channel, types));
        schemas.insert(producer.envelope.to_owned(), producer.schema.clone());
    }
    for queue in routes::queues(ROUTES) {
        let (mut messages, mut types) = (Map::new(), Vec::new());
        for Producer { channel, source, types: all, .. } in &producers {
            for name in *all {
                if routes::queues_of(ROUTES, source, name).contains(&queue) {
                    let place = format!("#/channels/{channel}/messages/{name}");
                    messages.insert((*name).to_owned(), json!({"$ref": place}));
                    types.push(*name);
                }
            }
        }
        let description = "A queue with one consumer. Each message is one event.";
        channels.insert(
            queue.to_owned(),
            json!({"address": queue, "description": description, "messages": messages}),
        );
        operations.insert(format!("consume-{queue}"), describe("receive", queue, &types));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitrina events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every change of a product or its stock, at least once, in any order. \
                            An event carries the whole state of its aggregate: apply it if its \
                            (version, position) is greater than what you have.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas},
    })
}

/// An operation with every message of a channel.
fn describe(action: &str, channel: &str, types: &[&str]) -> Value {
    let message = |name: &&str| json!({"$ref": format!("#/channels/{channel}/messages/{name}")});
    json!({
        "action": action,
        "channel": {"$ref": format!("#/channels/{channel}")},
        "messages": types.iter().map(message).collect::<Vec<_>>(),
    })
}
