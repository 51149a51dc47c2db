//! The selection in the body of redrive and discard, which both read alike.

use std::time::Duration;

use serde_json::json;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, TestBed};

const ACTIONS: [&str; 2] = ["redrive", "discard"];

#[tokio::test]
async fn invalid_selection_is_refused_and_settles_nothing() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let nothing = "select dead letters by a field, or send \"all\": true";
    let limit = "must be a whole number from 1 to 1000";
    let queue = "is not a queue; the queues are catalog";
    for (selection, pointer, code, detail) in [
        (json!({}), "", "invalid", nothing),
        (json!({"limit": 1, "dry_run": true, "all": false}), "", "invalid", nothing),
        (json!({"all": true, "limit": 0}), "/limit", "out_of_range", limit),
        (json!({"all": true, "limit": 1_001}), "/limit", "out_of_range", limit),
        (json!({"queue": ""}), "/queue", "invalid", "must not be empty"),
        (json!({"queue": "returns", "all": true}), "/queue", "invalid", queue),
        (json!({"type": ""}), "/type", "invalid", "must not be empty"),
        (json!({"reason": "", "all": true}), "/reason", "invalid", "must not be empty"),
    ] {
        for action in ACTIONS {
            let call = Call::post(&format!("{DEAD_LETTERS}/{action}")).json(&selection);
            let refused = bed.ask_as_operator(call).await.expect(422);
            let fault = json!({"pointer": pointer, "code": code, "detail": detail});
            assert_eq!(refused.json["errors"], json!([fault]), "{action} {selection}");
        }
    }
    assert_eq!(bed.dead_letters().await.len(), 2);
}

#[tokio::test]
async fn dry_run_counts_what_matches_and_settles_nothing() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let all = bed.dead_letters().await;
    bed.clock.advance(Duration::from_secs(30));
    for (mut selection, matched) in [
        (json!({"all": true}), 2),
        (json!({"all": true, "limit": 1}), 1),
        (json!({"ids": [all[1]["id"]]}), 1),
        (json!({"ids": []}), 0),
        (json!({"queue": "catalog"}), 2),
        (json!({"type": "StockChanged"}), 1),
        (json!({"reason": "unreadable"}), 2),
        (json!({"older_than": 60}), 1),
        (json!({"ids": [all[1]["id"]], "older_than": 60}), 0),
    ] {
        selection["dry_run"] = json!(true);
        for action in ACTIONS {
            let call = Call::post(&format!("{DEAD_LETTERS}/{action}")).json(&selection);
            let counted = bed.ask_as_operator(call).await.expect(200);
            let expected = json!({"matched": matched, "settled": 0, "dry_run": true});
            assert_eq!(counted.json, expected, "{action} {selection}");
        }
    }
    assert_eq!(bed.dead_letters().await, all);
    assert_eq!(bed.audit().await, []);
}
