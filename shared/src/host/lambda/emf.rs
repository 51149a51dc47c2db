//! Metrics of a function in the embedded metric format: JSON lines on standard output, written before
//! each response, from which `CloudWatch` extracts metrics.
//!
//! Only metrics that an alarm or a dashboard uses are written, because each name costs money every
//! month. Every metric has the same two dimensions; further labels are plain fields of the line.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::metrics::{CloudWatch, HTTP_REQUEST_SECONDS, Metric, find};

/// Limit of `CloudWatch` for values of one metric in one line.
const MAX_VALUES: usize = 100;

/// Collects metrics until they are written. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Emf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: String,
    service: &'static str,
    process_role: &'static str,
    clock: Clock,
    cells: Mutex<BTreeMap<Key, Cell>>,
}

#[derive(Clone, Debug)]
enum Cell {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<GaugeCell>),
    Histogram(Arc<HistogramCell>),
}

#[derive(Debug, Default)]
struct GaugeCell {
    bits: AtomicU64,
    is_set: AtomicBool,
}

#[derive(Debug, Default)]
struct HistogramCell(Mutex<Vec<f64>>);

impl GaugeFn for GaugeCell {
    #[expect(clippy::float_arithmetic, reason = "a gauge is a double")]
    fn increment(&self, value: f64) {
        self.set(f64::from_bits(self.bits.load(Ordering::Relaxed)) + value);
    }

    #[expect(clippy::float_arithmetic, reason = "a gauge is a double")]
    fn decrement(&self, value: f64) {
        self.set(f64::from_bits(self.bits.load(Ordering::Relaxed)) - value);
    }

    fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
        self.is_set.store(true, Ordering::Relaxed);
    }
}

impl HistogramFn for HistogramCell {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

impl Emf {
    pub(crate) fn new(
        namespace: &str,
        service: &'static str,
        process_role: &'static str,
        clock: &Clock,
    ) -> Self {
        let (namespace, clock) = (namespace.to_owned(), clock.clone());
        Self(Arc::new(Inner { namespace, service, process_role, clock, cells: Mutex::default() }))
    }

    /// Installs this as the recorder of the process, unless one is installed.
    #[must_use]
    pub(crate) fn install(self) -> Self {
        let _ = metrics::set_global_recorder(self.clone());
        self
    }

    /// Writes the values collected since the last call. If writing fails, they are lost.
    pub(crate) fn write(&self, mut to: impl Write) {
        for line in self.lines() {
            let mut line = line.to_string();
            line.push('\n');
            // One write per line, because log lines may be interleaved.
            let _ = to.write_all(line.as_bytes());
        }
    }

    /// One line per combination of fields, and more if there are many values.
    fn lines(&self) -> Vec<Value> {
        let mut by_fields: BTreeMap<Vec<(&'static str, String)>, Vec<Written>> = BTreeMap::new();
        for (key, cell) in &*self.cells() {
            let values = cell.take();
            let Some(metric) = find(key.name()) else { continue };
            let Some(shown) = &metric.cloudwatch else { continue };
            if !values.is_empty() {
                let written = Written { metric, shown, values };
                by_fields.entry(fields_of(key)).or_default().push(written);
            }
        }
        by_fields.into_iter().flat_map(|(fields, written)| self.group(&fields, &written)).collect()
    }

    fn group(&self, fields: &[(&'static str, String)], written: &[Written]) -> Vec<Value> {
        let mut lines = Vec::new();
        let most = written.iter().map(|one| one.values.len()).max().unwrap_or_default();
        for from in (0..most).step_by(MAX_VALUES) {
            let mut metrics = Map::new();
            let mut described = Vec::new();
            for Written { metric, shown, values } in written {
                let values = values.get(from..).unwrap_or_default();
                let values = &values[..values.len().min(MAX_VALUES)];
                if values.is_empty() {
                    continue;
                }
                if metric.name == HTTP_REQUEST_SECONDS {
                    described.push(json!({"Name": "http_requests", "Unit": "Count"}));
                    metrics.insert("http_requests".to_owned(), values.len().into());
                }
                described.push(json!({"Name": shown.name, "Unit": shown.unit}));
                metrics.insert(shown.name.to_owned(), one_or_many(values, shown.factor));
            }
            lines.push(self.line(fields, metrics, &described));
        }
        lines
    }

    fn line(
        &self,
        fields: &[(&'static str, String)],
        metrics: Map<String, Value>,
        described: &[Value],
    ) -> Value {
        let Inner { namespace, service, process_role, clock, .. } = &*self.0;
        let mut line = metrics;
        for (name, value) in fields {
            line.insert((*name).to_owned(), value.as_str().into());
        }
        line.insert("service".to_owned(), (*service).into());
        line.insert("role".to_owned(), (*process_role).into());
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": clock.now().timestamp_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": namespace, "Dimensions": [["service", "role"]],
                    "Metrics": described,
                }],
            }),
        );
        Value::Object(line)
    }

    fn cells(&self) -> MutexGuard<'_, BTreeMap<Key, Cell>> {
        self.0.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, key: &Key, make: impl FnOnce() -> Cell) -> Cell {
        self.cells().entry(key.clone()).or_insert_with(make).clone()
    }
}

/// A metric with its values since the last write.
struct Written {
    metric: &'static Metric,
    shown: &'static CloudWatch,
    values: Vec<f64>,
}

impl Cell {
    fn take(&self) -> Vec<f64> {
        match self {
            Self::Counter(counter) => {
                let count = counter.swap(0, Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "what is counted is small")]
                let count = count as f64;
                if count > 0.0 { vec![count] } else { Vec::new() }
            }
            Self::Gauge(gauge) => {
                let is_set = gauge.is_set.swap(false, Ordering::Relaxed);
                let value = || f64::from_bits(gauge.bits.load(Ordering::Relaxed));
                is_set.then(value).into_iter().collect()
            }
            Self::Histogram(histogram) => {
                std::mem::take(&mut *histogram.0.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

/// The labels of `key` that are not dimensions.
fn fields_of(key: &Key) -> Vec<(&'static str, String)> {
    key.labels()
        .filter_map(|label| match label.key() {
            "route" => Some(("route", label.value().to_owned())),
            "work" => Some(("work", label.value().to_owned())),
            "status" => Some(("status_class", format!("{}xx", label.value().get(..1)?))),
            _ => None,
        })
        .collect()
}

#[expect(clippy::float_arithmetic, reason = "it is measured in doubles")]
fn one_or_many(values: &[f64], factor: f64) -> Value {
    match values {
        [one] => json!(one * factor),
        many => many.iter().map(|value| json!(value * factor)).collect(),
    }
}

impl Recorder for Emf {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, || Cell::Counter(Arc::default())) {
            Cell::Counter(counter) => Counter::from_arc(counter),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, || Cell::Gauge(Arc::default())) {
            Cell::Gauge(gauge) => Gauge::from_arc(gauge),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, || Cell::Histogram(Arc::default())) {
            Cell::Histogram(histogram) => Histogram::from_arc(histogram),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::metrics::{CATALOGUE, Kind};

    use super::*;

    fn emf() -> Emf {
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        Emf::new("Vitrina/test", "catalog", "api", &clock)
    }

    fn written(emf: &Emf) -> Vec<Value> {
        let mut lines = Vec::new();
        emf.write(&mut lines);
        let lines = String::from_utf8(lines).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn line_has_the_embedded_metric_format() {
        let emf = emf();
        metrics::with_local_recorder(&emf, || {
            let route = "/v1/catalog/products/{id}";
            for _ in 0..2 {
                metrics::histogram!(HTTP_REQUEST_SECONDS, "method" => "GET", "route" => route, "status" => "200")
                    .record(0.25);
            }
            metrics::counter!("vitrina_unlisted_total").increment(1);
        });
        let line = json!({
            "_aws": {
                "Timestamp": 1_800_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Vitrina/test", "Dimensions": [["service", "role"]],
                    "Metrics": [
                        {"Name": "http_requests", "Unit": "Count"},
                        {"Name": "http_request_duration_ms", "Unit": "Milliseconds"},
                    ],
                }],
            },
            "service": "catalog", "role": "api", "route": "/v1/catalog/products/{id}",
            "status_class": "2xx", "http_requests": 2, "http_request_duration_ms": [250.0, 250.0],
        });
        assert_eq!(written(&emf), [line]);
        assert_eq!(written(&emf), Vec::<Value>::new(), "each value is written once");
    }

    #[test]
    fn unchanged_gauge_is_written_again() {
        let emf = emf();
        let set = || metrics::gauge!("vitrina_outbox_pending").set(0.0);
        for _ in 0..2 {
            metrics::with_local_recorder(&emf, set);
            let lines = written(&emf);
            assert_eq!((lines.len(), &lines[0]["outbox_pending"]), (1, &json!(0.0)));
        }
        assert_eq!(written(&emf), Vec::<Value>::new());
    }

    #[test]
    fn values_beyond_the_limit_go_into_another_line() {
        let emf = emf();
        metrics::with_local_recorder(&emf, || {
            for _ in 0..250 {
                metrics::histogram!("vitrina_lag_seconds").record(0.001);
            }
            metrics::counter!("vitrina_events_buried_total").increment(3);
        });
        let lines = written(&emf);
        let values = lines.iter().map(|line| line["events_lag_ms"].as_array().unwrap().len());
        assert_eq!(values.collect::<Vec<_>>(), [100, 100, 50]);
        let dead_letters: Vec<&Value> = lines.iter().map(|line| &line["dead_letters"]).collect();
        assert_eq!(dead_letters, [&json!(3.0), &Value::Null, &Value::Null]);
    }

    /// Each metric, with the name, the unit and the value of a recorded 7 in `CloudWatch`.
    const SHOWN: &str = "
        vitrina_http_request_seconds http_request_duration_ms Milliseconds 7000
        vitrina_lag_seconds events_lag_ms Milliseconds 7000
        vitrina_outbox_pending outbox_pending Count 7
        vitrina_outbox_oldest_pending_seconds outbox_oldest_pending_seconds Seconds 7
        vitrina_events_published_total events_published Count 7
        vitrina_events_refused_total events_refused Count 7
        vitrina_events_ignored_total
        vitrina_events_buried_total dead_letters Count 7
        vitrina_queue_visible
        vitrina_queue_in_flight
        vitrina_dead_letters
        vitrina_projection_races_total
        vitrina_listings_damaged_total listings_damaged Count 7
        vitrina_sync_compared_total
        vitrina_sync_differences_total drift_found Count 7
        vitrina_sync_repaired_total drift_repaired Count 7
        vitrina_buckets_oldest_checked_seconds buckets_oldest_checked_seconds Seconds 7
        vitrina_background_failures_total background_failures Count 7
        vitrina_refresh_tokens_reused_total";

    /// Records 7 as a metric with each of its labels.
    fn record_seven(emf: &Emf, metric: &Metric) {
        let label = |name: &&'static str| {
            let value = if *name == "status" { "503" } else { *name };
            metrics::Label::new(*name, value)
        };
        let labels: Vec<metrics::Label> = metric.labels.iter().map(label).collect();
        let key = Key::from_parts(metric.name, labels);
        let metadata = Metadata::new("", metrics::Level::INFO, None);
        match metric.kind {
            Kind::Counter => emf.register_counter(&key, &metadata).increment(7),
            Kind::Gauge => emf.register_gauge(&key, &metadata).set(7.0),
            Kind::Histogram => emf.register_histogram(&key, &metadata).record(7.0),
        }
    }

    #[test]
    fn every_metric_has_its_name_unit_and_value_in_cloudwatch() {
        let rows: Vec<Vec<&str>> =
            SHOWN.trim().lines().map(|row| row.split_whitespace().collect()).collect();
        let named: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(named, CATALOGUE.each_ref().map(|metric| metric.name), "one row for each");
        for (metric, row) in CATALOGUE.iter().zip(rows) {
            let emf = emf();
            record_seven(&emf, metric);
            let lines = written(&emf);
            let [name, shown, unit, value] = row[..] else {
                assert_eq!(lines, Vec::<Value>::new(), "{row:?}");
                continue;
            };
            let mut described = vec![json!({"Name": shown, "Unit": unit})];
            let value: f64 = value.parse().unwrap();
            let mut line = json!({"service": "catalog", "role": "api", shown: value});
            for label in metric.labels {
                match *label {
                    "route" | "work" => line[*label] = json!(label),
                    "status" => line["status_class"] = json!("5xx"),
                    _ => {}
                }
            }
            if name == HTTP_REQUEST_SECONDS {
                described.insert(0, json!({"Name": "http_requests", "Unit": "Count"}));
                line["http_requests"] = json!(1);
            }
            line["_aws"] = json!({
                "Timestamp": 1_800_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Vitrina/test", "Dimensions": [["service", "role"]],
                    "Metrics": described,
                }],
            });
            assert_eq!(lines, [line], "{name}");
        }
    }
}
