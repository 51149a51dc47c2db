//! The metrics of a process, for Prometheus to scrape.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio_util::sync::CancellationToken;

use crate::metrics::{CATALOGUE, Kind, Metric, Unit};

/// Upper bounds of histogram buckets, in seconds: fine around expected latencies and lags, and equal
/// to the thresholds in `infra/slo.yaml`.
const SECONDS: [f64; 20] = [
    0.001, 0.002, 0.005, 0.010, 0.015, 0.025, 0.040, 0.060, 0.100, 0.150, 0.250, 0.300, 0.500, 1.0,
    1.5, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Interval at which samples are folded into their buckets.
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Builds a recorder with the buckets of this product.
pub fn build() -> PrometheusRecorder {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    match PrometheusBuilder::new().set_buckets_for_metric(suffix, &SECONDS) {
        Ok(builder) => builder,
        // Only an empty bucket list is refused.
        Err(_) => PrometheusBuilder::new(),
    }
    .build_recorder()
}

/// Returns the recorder of this process. The first call installs it.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = build();
            let handle = recorder.handle();
            // If another recorder is installed already, this one stays empty.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        })
        .clone()
}

fn describe() {
    for Metric { name, kind, unit, text, .. } in &CATALOGUE {
        let unit = match unit {
            Unit::Count => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
        };
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, unit, *text),
            Kind::Gauge => metrics::describe_gauge!(*name, unit, *text),
            Kind::Histogram => metrics::describe_histogram!(*name, unit, *text),
        }
    }
}

/// Bounds the memory of the recorder until `stop`.
pub async fn bound_memory(stop: CancellationToken) {
    let handle = recorder();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(FOLD_INTERVAL) => handle.run_upkeep(),
        }
    }
}
