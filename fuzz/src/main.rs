//! One program for all fuzz targets, so that they share one build. `VITRINA_FUZZ` names the target.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use testkit::fuzz;

static TARGET: LazyLock<fn(&[u8])> =
    LazyLock::new(|| match std::env::var("VITRINA_FUZZ").unwrap_or_default().as_str() {
        "claims" => fuzz::claims,
        "csv" => vitrina::commands::import::fuzz::csv,
        "cursor" => fuzz::cursor,
        "event" => fuzz::event,
        "headers" => fuzz::headers,
        "merge_patch" => inventory::fuzz::merge_patch,
        "new_product" => inventory::fuzz::new_product,
        "token" => fuzz::token,
        other => panic!("unknown fuzz target {other:?}"),
    });

fuzz_target!(|data: &[u8]| TARGET(data));
