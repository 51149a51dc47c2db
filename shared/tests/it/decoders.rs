//! Decoders never panic, and an accepted value survives being written and read again.

use std::path::Path;
use std::sync::LazyLock;

use jsonwebtoken::jwk::JwkSet;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::contract::envelope::{self, Received};
use shared::contract::inventory::Event;
use shared::http;
use shared::http::auth::{AuthConfig, KeySource, Verifier};
use shared::http::page::{decode_cursor, encode_cursor};
use shared::telemetry::causes;

const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ.";

/// A verifier without any key.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let config = AuthConfig {
        issuer: "https://identity.test".to_owned(),
        audience: "vitrina".to_owned(),
        keys: KeySource::Fixed(JwkSet { keys: Vec::new() }),
        roles_claim: "roles".to_owned(),
    };
    Verifier::new(config, Clock::System)
});

/// Every event that was ever shipped.
fn golden() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contract/golden/events");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// A text with some bytes replaced, and perhaps its end cut off.
fn damaged(texts: Vec<String>) -> impl Strategy<Value = String> {
    let byte = prop_oneof![Just(b'"'), Just(b'0'), Just(b'-'), Just(b'}'), any::<u8>()];
    let damage = prop::collection::vec((any::<Index>(), byte), 0..4);
    let cut = prop::option::weighted(0.2, any::<Index>());
    (prop::sample::select(texts), damage, cut).prop_map(|(text, damage, cut)| {
        let mut bytes = text.into_bytes();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn event_survives_writing_and_reading_again(
        text in prop_oneof![4 => damaged(golden()), 1 => any::<String>()],
    ) {
        if let Ok(Received::Known(envelope)) = envelope::read::<Event>(&text) {
            let written = serde_json::to_string(&envelope).unwrap();
            let Ok(Received::Known(again)) = envelope::read::<Event>(&written) else {
                return Err(TestCaseError::fail(written));
            };
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), written);
        }
    }

    #[test]
    fn cursor_decodes_to_its_key_and_other_texts_are_refused(
        filter in "[a-z]{0,8}", key in any::<String>(), text in any::<String>(),
    ) {
        prop_assert_eq!(decode_cursor(&filter, &encode_cursor(&filter, &key)).unwrap(), key);
        prop_assert!(decode_cursor(&filter, &text).is_err());
    }

    #[test]
    fn damaged_cursor_is_refused_or_of_the_same_list(
        text in damaged(vec![encode_cursor("shoes", "0007#x")]),
    ) {
        if let Ok(key) = decode_cursor("shoes", &text) {
            prop_assert_eq!(decode_cursor("shoes", &encode_cursor("shoes", &key)).unwrap(), key);
        }
    }

    #[test]
    fn arbitrary_body_is_refused_with_a_problem(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            #[expect(dead_code, reason = "never present")]
            name: String,
        }

        let problem = http::parse::<Wanted>(&bytes).unwrap_err();
        prop_assert!([400, 422].contains(&problem.kind.status), "{:?}", problem);
    }

    #[test]
    fn token_of_an_unknown_key_is_refused(
        token in prop_oneof![
            any::<String>(),
            "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}",
            damaged(vec![UNSIGNED.to_owned()]),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let verified = runtime.block_on(VERIFIER.verify(&token));
        prop_assert_eq!(verified.unwrap_err().kind.status, 401);
    }
}

#[test]
fn event_with_another_meaning_is_unreadable() {
    for text in golden() {
        assert!(matches!(envelope::read::<Event>(&text).unwrap(), Received::Known(_)), "{text}");
        let other = "01890000-0000-7000-8000-000000000123";
        for (field, value) in [
            ("specversion", json!("0.3")),
            ("source", json!("other/producer")),
            ("schemaversion", json!(2)),
            ("schemaversion", json!(0)),
            ("subject", json!(other)),
        ] {
            let mut envelope: Value = serde_json::from_str(&text).unwrap();
            if field == "subject" && envelope["type"] == "StockChanged" {
                // Only its envelope has the id.
                continue;
            }
            envelope[field] = value;
            let fault = causes(&envelope::read::<Event>(&envelope.to_string()).unwrap_err());
            let wanted = if field == "subject" { other } else { field };
            assert!(fault.starts_with("reading an event: ") && fault.contains(wanted), "{fault}");
        }
        // No other field of an unknown type is checked.
        let mut unknown: Value = serde_json::from_str(&text).unwrap();
        unknown["type"] = json!("ProductPraised");
        unknown["schemaversion"] = json!(2);
        let unknown = envelope::read::<Event>(&unknown.to_string()).unwrap();
        assert!(matches!(unknown, Received::Unknown { .. }));
    }
}

#[test]
fn unknown_type_is_ignored_in_an_envelope_of_another_form() {
    let mut envelopes = vec![json!({}), json!({"kind": "another", "body": [1, 2]})];
    for text in golden() {
        let envelope: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<String> = envelope.as_object().unwrap().keys().cloned().collect();
        // Without each member, and with a value of another type.
        for name in names {
            for value in [None, Some(json!([7]))] {
                let mut other = envelope.clone();
                let members = other.as_object_mut().unwrap();
                members.remove(&name);
                members.extend(value.map(|value| (name.clone(), value)));
                envelopes.push(other);
            }
        }
    }
    for mut envelope in envelopes {
        envelope["type"] = json!("ProductPraised");
        let read = envelope::read::<Event>(&envelope.to_string());
        let Ok(Received::Unknown { type_name }) = read else { panic!("{envelope}: {read:?}") };
        assert_eq!(type_name, "ProductPraised");
    }
    // A known type must have its form.
    for name in ["subject", "requestid", "data", "position", "time"] {
        for text in golden() {
            let mut envelope: Value = serde_json::from_str(&text).unwrap();
            envelope.as_object_mut().unwrap().remove(name);
            envelope::read::<Event>(&envelope.to_string()).unwrap_err();
        }
    }
}
