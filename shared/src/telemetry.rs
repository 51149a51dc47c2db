//! Logs, traces and metrics.
//!
//! Logs are JSON lines, or plain lines in a terminal. Traces are exported over OTLP when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set. The `traceparent` is always propagated, so that a request and
//! the listing it updates belong to one trace.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::config::Settings;

/// A log filter: a level, or `target=level`, separated by commas.
///
/// Unlike `EnvFilter`, it supports no spans or fields, because those need a regex compiler that
/// enlarges every function (decision 21).
#[derive(Clone, Debug, Default)]
pub struct LogFilter(Targets);

/// Why a log filter is refused.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    #[error("only targets and levels are supported, not spans or fields: {0}")]
    Span(String),
    #[error(transparent)]
    Directive(#[from] tracing_subscriber::filter::ParseError),
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An empty part between two commas is allowed.
        let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
        let directives: Vec<&str> = directives.collect();
        match directives.iter().find(|directive| directive.contains(['[', '{'])) {
            Some(directive) => Err(LogFilterError::Span((*directive).to_owned())),
            None => Ok(Self(directives.join(",").parse()?)),
        }
    }
}

/// Configuration of logs and traces.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `RUST_LOG`.
    pub filter: LogFilter,
    /// Whether the log goes to a terminal.
    pub plain: bool,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<String>,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
}

impl TelemetryConfig {
    pub fn read(settings: &mut Settings, plain: bool, default_filter: &str) -> Self {
        Self {
            filter: settings
                .optional("RUST_LOG")
                .unwrap_or_else(|| default_filter.parse().unwrap_or_default()),
            plain,
            otlp_endpoint: settings.optional("OTEL_EXPORTER_OTLP_ENDPOINT"),
            service_name: settings.or("OTEL_SERVICE_NAME", "vitrina".to_owned()),
        }
    }
}

/// Keeps the exporter alive. Call [`Telemetry::flush`] before the process ends. The default has none.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    /// Whether a flush is in progress.
    is_flushing: Arc<AtomicBool>,
}

impl Telemetry {
    /// Flushes pending spans with a timeout. Only one flush runs at a time, in the background, so
    /// that an unresponsive collector delays no other request.
    pub(crate) async fn flush_within(&self, patience: Duration) {
        let Some(provider) = self.provider.clone() else { return };
        if self.is_flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_flushing = Arc::clone(&self.is_flushing);
        let flushing = tokio::task::spawn_blocking(move || {
            let _ = provider.force_flush();
            is_flushing.store(false, Ordering::Release);
        });
        let _ = tokio::time::timeout(patience, flushing).await;
    }

    /// Flushes pending spans. If the collector is down, they are lost.
    pub fn flush(self) {
        if let Some(provider) = self.provider {
            let _ = provider.shutdown();
        }
    }
}

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("setting up the OTLP exporter")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("a tracing subscriber is already set")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up logs and traces of the process. Called once, in main.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let filter = config.filter.0.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if config.plain {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    let provider = config.otlp_endpoint.as_deref().map(|url| exporter(config, url)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(config.service_name.clone()))
    });
    let subscriber = Registry::default().with(lines.with_filter(filter)).with(spans);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(Telemetry { provider, is_flushing: Arc::default() })
}

fn exporter(config: &TelemetryConfig, url: &str) -> Result<SdkTracerProvider, TelemetryError> {
    use opentelemetry_otlp::WithExportConfig as _;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/')))
        .build()?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name(config.service_name.clone())
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Makes `span` part of the trace in a `traceparent`.
pub(crate) fn continue_trace(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // Fails only without an exporter, and then there is no trace to continue.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// Formats an error with all its causes on one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

/// Logs a failure of background work that the caller handles by retrying.
pub fn failed(work: &'static str, error: &dyn std::error::Error) {
    metrics::counter!("vitrina_background_failures_total", "work" => work).increment(1);
    tracing::warn!(work, error = causes(error), "background work failed and will be retried");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Mutex, mpsc};

    use opentelemetry::Context;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
    use testkit::{NO_TIMEOUT, within};
    use tracing::Level;

    use super::*;

    /// Flushes once the test drops or uses its end of the channel.
    #[derive(Debug)]
    struct Held(Mutex<mpsc::Receiver<()>>);

    impl SpanProcessor for Held {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[tokio::test]
    async fn silent_collector_holds_up_no_response() {
        let (release, held) = mpsc::channel();
        let held = Held(Mutex::new(held));
        let provider = SdkTracerProvider::builder().with_span_processor(held).build();
        let telemetry = Telemetry { provider: Some(provider), is_flushing: Arc::default() };
        let flush = telemetry.flush_within(Duration::from_millis(1));
        within("the end of the first response", flush).await;
        // That flush is still in progress, and no other begins.
        let flush = telemetry.flush_within(Duration::from_hours(1));
        within("the end of the second response", flush).await;
        assert!(telemetry.is_flushing.load(Ordering::Acquire));
        drop(release);
    }

    /// Counts its flushes.
    #[derive(Clone, Debug, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl SpanProcessor for Counting {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_invocation_flushes_its_spans() {
        let counting = Counting::default();
        let provider = SdkTracerProvider::builder().with_span_processor(counting.clone()).build();
        let telemetry = Telemetry { provider: Some(provider), is_flushing: Arc::default() };
        for flushes in 1..=3 {
            telemetry.flush_within(NO_TIMEOUT).await;
            assert_eq!(counting.0.load(Ordering::SeqCst), flushes);
            assert!(!telemetry.is_flushing.load(Ordering::Acquire));
        }
    }

    #[test]
    fn log_filter_supports_only_levels_and_targets() {
        let filter: LogFilter = "warn,, sync=debug,".parse().unwrap();
        assert!(filter.0.would_enable("sync::round", &Level::DEBUG));
        assert!(filter.0.would_enable("catalog", &Level::WARN));
        assert!(!filter.0.would_enable("catalog", &Level::INFO));
        for wrong in ["sync[once]=debug", "[{id}]", "sync=loud", "sync=debug=info"] {
            wrong.parse::<LogFilter>().unwrap_err();
        }
    }

    #[test]
    fn invalid_log_filter_is_reported_as_a_fault() {
        let mut settings = Settings::from_pairs([("RUST_LOG", "sync[once]=debug")]);
        let config = TelemetryConfig::read(&mut settings, false, "info");
        let faults = settings.finish(config).unwrap_err().to_string();
        assert!(faults.contains("RUST_LOG is wrong: only targets and levels"), "{faults}");
    }
}
