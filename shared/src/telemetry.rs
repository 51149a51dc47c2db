//! Logs, traces and metrics.
//!
//! Logs are JSON lines, or plain lines in a terminal. Traces are exported over OTLP when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the `traceparent` is carried in any case, so that a
//! request and the listing it led to are one trace wherever it is recorded.

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

/// What is logged: levels, and targets with a level each, by commas.
///
/// No spans or fields, as the directives of an `EnvFilter` have them, too: it brings a compiler of
/// regular expressions, which functions are smaller without (decision 21).
#[derive(Clone, Debug, Default)]
pub struct LogFilter(Targets);

/// What a log filter cannot be.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    #[error("spans and fields cannot be named, only targets and levels: {0}")]
    Span(String),
    #[error(transparent)]
    Directive(#[from] tracing_subscriber::filter::ParseError),
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What is between two commas may be nothing.
        let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
        let directives: Vec<&str> = directives.collect();
        match directives.iter().find(|directive| directive.contains(['[', '{'])) {
            Some(directive) => Err(LogFilterError::Span((*directive).to_owned())),
            None => Ok(Self(directives.join(",").parse()?)),
        }
    }
}

/// What is logged and where spans go.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `RUST_LOG`.
    pub filter: LogFilter,
    /// Whether a person reads the log.
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

/// Keeps the exporter alive; [`Telemetry::flush`] before the process ends.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    /// Whether somebody waits for spans to be sent.
    is_flushing: Arc<AtomicBool>,
}

impl Telemetry {
    /// Sends what is there, and waits for that at most as long as this. A collector that does not
    /// answer is waited for once at a time, and by nobody who has something else to do.
    pub async fn flush_within(&self, patience: Duration) {
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

    /// Sends what is left. A collector that is down costs nothing but its spans.
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
    #[error("a subscriber is set already")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up the process's log and traces. Called once, in main.
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

/// Makes `span` part of the trace that a `traceparent` names.
pub fn continue_trace(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // Fails only where no exporter is configured, and then there is nothing to connect.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// An error with everything that caused it, on one line.
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

/// Logs that background work failed; whoever calls this has handled the failure.
pub fn failed(work: &'static str, error: &dyn std::error::Error) {
    metrics::counter!("vitrina_background_failures_total", "work" => work).increment(1);
    tracing::warn!(work, error = causes(error), "background work failed and is tried again");
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_log_filter_names_levels_and_targets_and_nothing_else() {
        let filter: LogFilter = "warn,, sync=debug,".parse().unwrap();
        assert!(filter.0.would_enable("sync::round", &Level::DEBUG));
        assert!(filter.0.would_enable("catalog", &Level::WARN));
        assert!(!filter.0.would_enable("catalog", &Level::INFO));
        for wrong in ["sync[once]=debug", "[{id}]", "sync=loud", "sync=debug=info"] {
            wrong.parse::<LogFilter>().unwrap_err();
        }
    }

    #[test]
    fn a_wrong_log_filter_is_a_fault_like_any_other() {
        let mut settings = Settings::from_pairs([("RUST_LOG", "sync[once]=debug")]);
        let config = TelemetryConfig::read(&mut settings, false, "info");
        let faults = settings.finish(config).unwrap_err().to_string();
        assert!(faults.contains("RUST_LOG is wrong: spans"), "{faults}");
    }
}
