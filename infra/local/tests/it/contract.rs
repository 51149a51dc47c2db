use std::path::Path;

use serde_json::Value;
use shared::contract::envelope::{self, Event as _, Received};
use shared::contract::inventory::Event;
use shared::contract::listing::ListingItem;
use vitrina::asyncapi;

use crate::openapi::{DOCUMENT, OPERATIONS};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn checked_in_openapi_document_matches_the_code() {
    assert!(
        read("docs/api/openapi.json") == *DOCUMENT,
        "docs/api/openapi.json is not up to date: run .ci/describe"
    );
}

#[test]
fn checked_in_asyncapi_document_matches_the_code() {
    assert!(
        read("docs/api/asyncapi.json") == asyncapi::document(),
        "docs/api/asyncapi.json is not up to date: run .ci/describe"
    );
}

#[test]
fn every_operation_has_a_default_response() {
    for operation in OPERATIONS.iter() {
        assert!(operation.responses().contains_key("default"), "{}", operation.name());
    }
}

#[test]
fn every_golden_event_reads_and_writes_unchanged() {
    let mut read_types = Vec::new();
    let folder = root().join("shared/src/contract/golden/events");
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let Received::Known(envelope) = envelope::read::<Event>(&text).unwrap() else {
            panic!("{} has an unknown type", file.display())
        };
        if let Some(product) = envelope.event.product() {
            assert_eq!(product.content_hash, product.compute_hash(), "{}", file.display());
        }
        let written = serde_json::to_value(&envelope).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, golden, "{} is written differently now", file.display());
        read_types.push(envelope.event.type_name());
    }
    for name in Event::TYPES {
        assert!(read_types.contains(name), "{name} has no golden file");
    }
}

#[test]
fn golden_listing_reads_and_writes_unchanged() {
    let golden = read("shared/src/contract/golden/listing.json");
    let item: ListingItem = serde_json::from_value(golden.clone()).unwrap();
    assert_eq!(serde_json::to_value(&item).unwrap(), golden);
    let product = item.product().unwrap();
    assert_eq!(product.content_hash, product.compute_hash());
}
