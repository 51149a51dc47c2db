//! The description of the events, generated from their types.

use serde_json::{Map, Value, json};

use crate::edition::parts::{Channel, SERVICES};

/// An AsyncAPI 3.0 document.
pub fn document() -> Value {
    let channels: Vec<&Channel> =
        SERVICES.iter().filter_map(|service| service.channel.as_ref()).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitrina events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every change of a product or its stock, at least once, in any order. \
                            An event carries the whole state of its aggregate: apply it if its \
                            (version, position) is greater than what you have.",
        },
        "channels": object(&channels, |channel| (channel.name, describe_channel(channel))),
        "operations": object(&channels, |channel| (channel.operation, describe_operation(channel))),
        "components": {"schemas": object(&channels, |channel| {
            let (name, schema) = channel.message;
            (name, schema().into())
        })},
    })
}

fn object(channels: &[&Channel], member: impl Fn(&Channel) -> (&'static str, Value)) -> Value {
    let members = channels.iter().map(|channel| member(channel));
    members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn describe_channel(channel: &Channel) -> Value {
    let schema = format!("#/components/schemas/{}", channel.message.0);
    let messages = channel.event_types.iter().map(|name| {
        let message = json!({
            "name": name,
            "contentType": "application/cloudevents+json",
            "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": {"$ref": schema}},
        });
        ((*name).to_owned(), message)
    });
    json!({"address": "vitrina", "messages": messages.collect::<Map<_, _>>()})
}

fn describe_operation(channel: &Channel) -> Value {
    let channel_path = format!("#/channels/{}", channel.name);
    let messages = channel.event_types.iter();
    let messages = messages.map(|name| json!({"$ref": format!("{channel_path}/messages/{name}")}));
    json!({
        "action": "send",
        "channel": {"$ref": channel_path},
        "messages": messages.collect::<Value>(),
    })
}
