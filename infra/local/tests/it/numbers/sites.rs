//! Each place that records a metric, with the test that asserts what it records there.

use std::collections::BTreeMap;
use std::fs;

use shared::metrics::CATALOGUE;

use crate::architecture::{root, shown};
use crate::sources::{production_files, production_text};

/// Metric, file, number of places in it, and the test.
const SITES: [(&str, &str, usize, &str); 20] = [
    (
        "vitrina_lag_seconds",
        "services/catalog/src/projector.rs",
        1,
        "lag_is_from_the_commit_to_the_listing_without_repairs",
    ),
    (
        "vitrina_outbox_pending",
        "shared/src/outbox/relay.rs",
        1,
        "outbox_metrics_count_and_date_what_is_pending",
    ),
    (
        "vitrina_outbox_oldest_pending_seconds",
        "shared/src/outbox/relay.rs",
        1,
        "outbox_metrics_count_and_date_what_is_pending",
    ),
    (
        "vitrina_events_published_total",
        "shared/src/outbox/relay.rs",
        1,
        "outbox_metrics_count_and_date_what_is_pending",
    ),
    (
        "vitrina_events_refused_total",
        "shared/src/outbox/relay.rs",
        1,
        "outbox_metrics_count_and_date_what_is_pending",
    ),
    (
        "vitrina_events_ignored_total",
        "shared/src/host/intake.rs",
        1,
        "ignored_and_buried_messages_are_counted_one_by_one",
    ),
    // The messages that were settled, those of which no attempt was, and those that waited for too long.
    (
        "vitrina_events_buried_total",
        "shared/src/bus/postgres/queue.rs",
        3,
        "ignored_and_buried_messages_are_counted_one_by_one",
    ),
    (
        "vitrina_events_buried_total",
        "shared/src/bus/aws/sqs.rs",
        1,
        "dead_letters_accepted_by_sqs_are_counted",
    ),
    (
        "vitrina_queue_visible",
        "shared/src/host/health.rs",
        1,
        "queue_gauges_are_set_when_the_metrics_are_read",
    ),
    (
        "vitrina_queue_in_flight",
        "shared/src/host/health.rs",
        1,
        "queue_gauges_are_set_when_the_metrics_are_read",
    ),
    (
        "vitrina_dead_letters",
        "shared/src/host/health.rs",
        1,
        "queue_gauges_are_set_when_the_metrics_are_read",
    ),
    (
        "vitrina_projection_races_total",
        "services/catalog/src/projector.rs",
        1,
        "each_write_lost_to_another_projector_is_a_race",
    ),
    (
        "vitrina_listings_damaged_total",
        "services/catalog/src/store/queries/mod.rs",
        1,
        "each_damaged_listing_of_a_page_is_counted",
    ),
    (
        "vitrina_sync_compared_total",
        "services/sync/src/round.rs",
        1,
        "reconciliation_metrics_count_products_and_date_checks",
    ),
    (
        "vitrina_sync_differences_total",
        "services/sync/src/round.rs",
        1,
        "reconciliation_metrics_count_products_and_date_checks",
    ),
    (
        "vitrina_sync_repaired_total",
        "services/sync/src/round.rs",
        1,
        "reconciliation_metrics_count_products_and_date_checks",
    ),
    (
        "vitrina_buckets_oldest_checked_seconds",
        "services/sync/src/reconciler.rs",
        1,
        "reconciliation_metrics_count_products_and_date_checks",
    ),
    (
        "vitrina_background_failures_total",
        "shared/src/telemetry.rs",
        1,
        "failures_are_counted_by_the_work_that_failed",
    ),
    (
        "vitrina_refresh_tokens_reused_total",
        "services/identity/src/http/refresh.rs",
        1,
        "each_session_ended_by_a_used_token_is_counted",
    ),
    // Recorded through its constant, which other code uses, too.
    (
        "vitrina_http_request_seconds",
        "shared/src/http/request.rs",
        1,
        "request_time_is_measured_by_route_method_and_status",
    ),
];

/// The catalogue names every metric, and the command reads one.
const NOT_RECORDING: [&str; 2] = ["shared/src/metrics.rs", "infra/local/src/commands/status.rs"];

/// Where a metric is recorded under a name that is not written there: a constant, or the name that a closure
/// gets, which the catalogue lists as well.
const BY_VARIABLE: [(&str, &str); 2] =
    [("HTTP_REQUEST_SECONDS", "shared/src/http/request.rs"), ("name", "shared/src/host/health.rs")];

/// The files with the tests.
const TESTS: [&str; 3] = [
    "infra/local/tests/it/numbers/background_failures.rs",
    "infra/local/tests/it/numbers/metrics.rs",
    "shared/tests/it/sqs_numbers.rs",
];

#[test]
fn every_place_that_records_a_metric_names_its_test() {
    let mut found = BTreeMap::new();
    for path in production_files() {
        if NOT_RECORDING.iter().any(|it| path.ends_with(it)) {
            continue;
        }
        let code = production_text(&fs::read_to_string(&path).unwrap());
        let code: String = code.split_whitespace().collect();
        for recorded in ["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!("] {
            for (_, arguments) in
                code.match_indices(recorded).map(|(at, it)| code.split_at(at + it.len()))
            {
                let name = arguments.split([',', ')']).next().unwrap_or_default();
                let is_listed = CATALOGUE.iter().any(|it| name == format!("\"{}\"", it.name));
                let by_variable = BY_VARIABLE.contains(&(name, &*shown(&path)));
                assert!(
                    is_listed || by_variable,
                    "{name} in {} is not in the catalogue",
                    shown(&path)
                );
            }
        }
        for metric in &CATALOGUE {
            let by_constant = metric.name == shared::metrics::HTTP_REQUEST_SECONDS;
            let literal = if by_constant {
                "histogram!(HTTP_REQUEST_SECONDS".to_owned()
            } else {
                format!("\"{}\"", metric.name)
            };
            let places = code.matches(&literal).count();
            if places > 0 {
                found.insert((metric.name.to_owned(), shown(&path)), places);
            }
        }
    }
    let named = |(metric, file, places, _): &(&str, &str, usize, &str)| {
        (((*metric).to_owned(), (*file).to_owned()), *places)
    };
    let expected: BTreeMap<(String, String), usize> = SITES.iter().map(named).collect();
    assert_eq!(found, expected, "name a test that asserts the value for each place");
    let tests = TESTS.map(|file| fs::read_to_string(root().join(file)).unwrap()).concat();
    for (metric, _, _, test) in SITES {
        assert!(tests.contains(&format!("async fn {test}()")), "{metric}: {test} does not exist");
    }
}
