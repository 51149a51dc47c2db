//! The metrics of a process, for Prometheus to scrape.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Upper bounds of histogram buckets, in seconds: fine around expected latencies and lags, and equal
/// to the thresholds in `infra/slo.yaml`.
const SECONDS: [f64; 20] = [
    0.001, 0.002, 0.005, 0.010, 0.015, 0.025, 0.040, 0.060, 0.100, 0.150, 0.250, 0.300, 0.500, 1.0,
    1.5, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Interval at which samples are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Returns the recorder of this process. The first call installs it.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let suffix = Matcher::Suffix("_seconds".to_owned());
            let builder = PrometheusBuilder::new();
            let recorder = match builder.set_buckets_for_metric(suffix, &SECONDS) {
                Ok(builder) => builder,
                // Only an empty bucket list is refused.
                Err(_) => PrometheusBuilder::new(),
            }
            .build_recorder();
            let handle = recorder.handle();
            // If another recorder is installed already, this one stays empty.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        })
        .clone()
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "vitrina_lag_seconds",
        Unit::Seconds,
        "From commit to visible in the catalogue"
    );
    describe_histogram!("vitrina_http_request_seconds", Unit::Seconds, "From request to answer");
    describe_counter!("vitrina_events_published_total", "Events that the bus has taken");
    describe_counter!(
        "vitrina_events_ignored_total",
        "Events of a type that this build does not know"
    );
    describe_counter!("vitrina_events_refused_total", "Events that the bus has not taken");
    describe_counter!("vitrina_events_buried_total", "Messages that became dead letters");
    describe_counter!("vitrina_listings_damaged_total", "Listings that lists have left out");
    describe_gauge!("vitrina_outbox_pending", "Events that are not published yet");
    describe_gauge!(
        "vitrina_outbox_oldest_pending_seconds",
        Unit::Seconds,
        "How long ago the oldest of them was committed"
    );
    describe_counter!("vitrina_sync_repaired_total", "Differences that were announced again");
    describe_gauge!(
        "vitrina_buckets_oldest_checked_seconds",
        Unit::Seconds,
        "How long ago the bucket was compared that waits for longest"
    );
    describe_counter!(
        "vitrina_projection_races_total",
        "Puts that another projector was faster than"
    );
    describe_counter!("vitrina_background_failures_total", "Rounds of background work that failed");
}

/// Bounds the memory of the recorder until `stop`.
pub async fn upkeep(stop: CancellationToken) {
    let handle = recorder();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(UPKEEP) => handle.run_upkeep(),
        }
    }
}
