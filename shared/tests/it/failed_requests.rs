//! What a failed request leaves behind: its response, its line in the log and its sample.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use shared::clock::Clock;
use shared::host::metrics_recorder;
use shared::host::server::with_standard_layers;
use shared::http::problem::{MALFORMED_REQUEST, Problem};
use shared::id::Ids;
use testkit::Call;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<String, String>;

/// Log lines: the level, and the fields of the event and of its spans.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, Fields)>>>);

#[derive(Default)]
struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut reader = Reader::default();
        attributes.record(&mut reader);
        context.span(id).unwrap().extensions_mut().insert(reader);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut reader = Reader::default();
        event.record(&mut reader);
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            reader.0.extend(extensions.get::<Reader>().unwrap().0.clone());
        }
        // Lines of this crate; the runtime writes others.
        if event.metadata().target().starts_with("shared") {
            self.0.lock().unwrap().push((*event.metadata().level(), reader.0));
        }
    }
}

fn standard(router: Router) -> Router {
    with_standard_layers(router, &Clock::fixed(chrono::DateTime::UNIX_EPOCH), &Ids::seeded(1))
}

/// The problems of a path each, with the level and the code of their line in the log, if there is one.
type Logged = (&'static str, fn() -> Problem, u16, Option<(Level, &'static str)>);

const PROBLEMS: [Logged; 5] = [
    ("/internal", || Problem::internal("planted"), 500, Some((Level::ERROR, "internal"))),
    ("/unavailable", || Problem::unavailable("planted"), 503, Some((Level::WARN, "unavailable"))),
    ("/malformed", malformed, 400, Some((Level::INFO, "malformed_request"))),
    ("/refused", || MALFORMED_REQUEST.because(""), 400, None),
    ("/not_found", Problem::not_found, 404, None),
];

fn malformed() -> Problem {
    Problem { source: Some("planted".into()), ..MALFORMED_REQUEST.because("") }
}

#[tokio::test]
async fn log_of_a_failure_has_its_level_cause_and_request() {
    let mut router = Router::new();
    for (path, problem, ..) in PROBLEMS {
        router = router.route(path, get(move || async move { problem() }));
    }
    let router = standard(router);
    for (path, _, status, logged) in PROBLEMS {
        let lines = Lines::default();
        let recording =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
        let response = Call::get(path).send(&router).await.expect(status);
        drop(recording);
        let lines = lines.0.lock().unwrap();
        let Some((level, code)) = logged else {
            assert!(lines.is_empty(), "{path}: {lines:?}");
            continue;
        };
        let [(found, fields)] = &lines[..] else { panic!("{path}: {lines:?}") };
        assert_eq!(*found, level, "{path}");
        let id = response.header("x-request-id");
        let expected = [
            ("problem.code", code),
            ("error", "planted"),
            ("request.id", id),
            ("http.route", path),
            ("http.method", "GET"),
        ];
        for (name, value) in expected {
            assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name} of {path}");
        }
        assert_eq!(response.json["request_id"], id, "{path}");
    }
}

async fn panics() -> &'static str {
    panic!("planted")
}

#[tokio::test]
async fn handler_that_panics_is_a_500_with_its_request() {
    let recorder = metrics_recorder::build();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let router =
        Router::new().route("/panics", get(panics)).route("/works", get(|| async { "done" }));
    let router = standard(router);
    let response = Call::get("/panics").send(&router).await.expect(500);
    assert_eq!(response.code(), "internal");
    assert_eq!(response.json["request_id"], response.header("x-request-id"));
    assert!(!response.text.contains("planted"), "{}", response.text);
    assert_eq!(Call::get("/works").send(&router).await.expect(200).text, "done");
    let page = recorder.handle().render();
    for (route, status) in [("/panics", 500), ("/works", 200)] {
        let labels = format!("method=\"GET\",route=\"{route}\",status=\"{status}\"");
        let line = format!("vitrina_http_request_seconds_count{{{labels}}} 1");
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
}
