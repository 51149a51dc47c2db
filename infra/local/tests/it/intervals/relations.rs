//! Intervals that must be shorter than others, or equal to them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::declared::duration;
use super::rows;

/// Pairs of which the first must be shorter, and why. Either may be a sum.
const SHORTER: &[(&str, &str, &str)] = &[
    (
        "shared/src/http/body.rs BODY_TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "a slow body is a 408",
    ),
    (
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "infra/local/src/client/http.rs TIMEOUT",
        "the client reads the 503",
    ),
    (
        "services/catalog/src/http/get_product.rs MAX_WAIT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "waiting for a version ends with its own 503",
    ),
    (
        "shared/src/http/key_set.rs TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "so does waiting for keys",
    ),
    (
        "shared/src/database/mod.rs acquire + shared/src/database/mod.rs statement",
        "services/inventory/src/group_commit/mod.rs TIMEOUT",
        "a group waits for its connection and its statement",
    ),
    (
        "services/inventory/src/group_commit/mod.rs TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "a silent database is a 503 that names it",
    ),
    (
        "shared/src/database/mod.rs lock",
        "shared/src/database/mod.rs statement",
        "a wait for a lock is reported as such",
    ),
    (
        "shared/src/outbox/relay.rs publish",
        "shared/src/database/mod.rs idle_in_transaction",
        "the relay publishes within its transaction",
    ),
    (
        "shared/src/outbox/relay.rs response",
        "shared/src/outbox/relay.rs publish",
        "a response waits less than the relay",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs attempt",
        "shared/src/bus/aws/event_bridge.rs call",
        "a call has several attempts",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs call",
        "shared/src/bus/aws/event_bridge.rs budget",
        "a publish has several calls",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs budget",
        "shared/src/outbox/relay.rs publish",
        "what was accepted is settled",
    ),
    (
        "shared/src/outbox/relay.rs REFUSED_BACKOFF",
        "shared/src/outbox/relay.rs drain",
        "a drain publishes what was refused once",
    ),
    (
        "shared/src/outbox/relay.rs drain",
        "shared/src/outbox/relay.rs UNREADABLE_BACKOFF",
        "a drain does not wait for another build",
    ),
    (
        "shared/src/bus/aws/sqs.rs long_poll + shared/src/bus/aws/sqs.rs visibility",
        "shared/src/host/sqs_intake.rs ROUND_TIMEOUT",
        "a round receives and handles",
    ),
    (
        "shared/src/bus/message.rs MESSAGE_KEPT",
        "shared/src/bus/message.rs DEAD_LETTER_KEPT",
        "a message is a dead letter first",
    ),
    (
        "shared/src/bus/message.rs DEAD_LETTER_KEPT",
        "shared/src/contract/listing.rs TOMBSTONE_KEPT",
        "a late event meets the tombstone",
    ),
    (
        "shared/src/database/iam.rs RENEW_AFTER + shared/src/database/iam.rs CHECK_INTERVAL",
        "shared/src/database/iam.rs LIFETIME",
        "a new connection has a valid token",
    ),
    (
        "shared/src/http/key_set.rs REFETCH_AFTER",
        "shared/src/http/key_set.rs REFRESH_AFTER",
        "a refresh is not too early",
    ),
    (
        "shared/src/http/key_set.rs REFRESH_AFTER",
        "shared/src/http/key_set.rs REFRESH_FIRST_AFTER",
        "a busy process refreshes in the background",
    ),
    (
        "shared/src/http/auth.rs CACHED_FOR",
        "services/identity/src/keys.rs ACCESS_LIFETIME",
        "a token expires in the cache, too",
    ),
    (
        "infra/local/src/client/session.rs MARGIN",
        "services/identity/src/keys.rs ACCESS_LIFETIME",
        "a new token is used for a while",
    ),
    (
        "services/sync/src/context.rs grace",
        "services/sync/src/context.rs max_wait",
        "a wait has a range",
    ),
    (
        "services/sync/src/config.rs GRACE_OF_A_FUNCTION",
        "services/sync/src/context.rs max_wait",
        "so has that of a function",
    ),
    (
        "services/sync/src/context.rs max_wait",
        "services/sync/src/context.rs lease",
        "a bucket that waits keeps its lease",
    ),
    (
        "services/sync/src/context.rs lease",
        "services/sync/src/context.rs deep_every",
        "a crashed round is taken over within the pass",
    ),
    (
        "shared/src/host/lambda/mod.rs FLUSH_TIMEOUT",
        "shared/src/host/lambda/mod.rs MARGIN",
        "spans are sent before the deadline",
    ),
    (
        "shared/src/host/intake.rs POLL_INTERVAL",
        "shared/src/bus/postgres/queue.rs UNAVAILABLE_BACKOFF",
        "an outage is polled less than a queue",
    ),
    (
        "services/identity/src/attempts.rs WINDOW",
        "services/identity/src/store/expired.rs CLAIM_KEPT",
        "a claim outlives its codes",
    ),
    (
        "infra/postgres/src/start.rs silence",
        "infra/postgres/src/start.rs ready",
        "a silent server is noticed before",
    ),
];

/// Pairs that must be equal, and why.
const EQUAL: &[(&str, &str, &str)] = &[
    (
        "services/catalog/src/pages.rs KEPT_FOR",
        "services/catalog/src/pages.rs CACHEABLE",
        "a page is as old for a client as it is here",
    ),
    (
        "shared/src/bus/aws/sqs.rs visibility",
        "shared/src/bus/postgres/queue.rs visibility",
        "both queues behave alike",
    ),
    (
        "services/identity/src/codes.rs LIFETIME",
        "services/identity/src/attempts.rs WINDOW",
        "a code has as many attempts as its window",
    ),
];

#[test]
fn intervals_that_contain_others_are_longer() {
    let values: BTreeMap<String, Duration> = rows()
        .into_iter()
        .filter_map(|row| Some((row.interval.0, duration(&row.interval.1)?)))
        .collect();
    let total = |names: &str| -> Duration {
        let names = names.split(" + ").map(str::trim);
        names.map(|name| *values.get(name).unwrap_or_else(|| panic!("no row {name}"))).sum()
    };
    for (shorter, longer, why) in SHORTER {
        let (short, long) = (total(shorter), total(longer));
        assert!(short < long, "{shorter} ({short:?}) < {longer} ({long:?}): {why}");
    }
    for (one, other, why) in EQUAL {
        assert_eq!(total(one), total(other), "{one} = {other}: {why}");
    }
}
