//! Each periodic work is repeated after its own interval. That `tick::run` keeps whatever interval it is
//! given, to the millisecond, is tested next to it in paused time.

use crate::architecture::shown;
use crate::sources::{production_files, production_text};

/// The file, the work and its interval.
const PERIODIC: [(&str, &str, &str); 10] = [
    ("infra/local/src/edition/parts/catalog.rs", "table", "TABLE_EVERY"),
    ("services/identity/src/delete_expired.rs", "tidy", "EVERY"),
    ("services/inventory/src/relay.rs", "forget", "KEY_EXPIRY_INTERVAL"),
    ("services/inventory/src/relay.rs", "repair", "REPAIR_INTERVAL"),
    ("services/sync/src/reconciler.rs", "reconcile", "POLL_INTERVAL"),
    ("shared/src/host/intake.rs", "expire", "EXPIRE_INTERVAL"),
    ("shared/src/host/intake.rs", "intake", "POLL_INTERVAL"),
    // Each poll of SQS waits for messages by itself.
    ("shared/src/host/sqs_intake.rs", "intake", "Duration::ZERO"),
    ("shared/src/outbox/relay.rs", "measure", "MEASURE_INTERVAL"),
    ("shared/src/outbox/relay.rs", "relay", "POLL_INTERVAL"),
];

#[test]
fn each_periodic_work_is_repeated_after_its_own_interval() {
    let mut found = Vec::new();
    for file in production_files() {
        let text = production_text(&std::fs::read_to_string(&file).unwrap());
        for call in text.split("tick::run(\"").skip(1) {
            let (work, arguments) = call.split_once("\", ").unwrap();
            let (mut interval, _) = arguments.split_once(',').unwrap();
            if interval == "pace" {
                let (_, pace) = text.split_once("let pace = Pace { every: ").unwrap();
                (interval, _) = pace.split_once(',').unwrap();
            }
            found.push((shown(&file), work.to_owned(), interval.to_owned()));
        }
    }
    found.sort();
    let expected = PERIODIC
        .map(|(file, work, interval)| (file.to_owned(), work.to_owned(), interval.to_owned()));
    assert_eq!(found, expected);
}
