//! A role as a function of AWS Lambda. Its runtime sends one invocation after the other; between two
//! of them the process stands still.
//!
//! So what has to be said of an invocation is said before its answer: metrics are written, and
//! spans are sent for as long as that takes, but not longer than a moment. A collector that is away
//! costs its spans and nothing else.

pub(super) mod emf;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use chrono::{DateTime, Utc};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Request};
use lambda_runtime::{LambdaEvent, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::IgnoredAny;
use tower::ServiceExt as _;

use crate::bus::sqs::SqsQueue;
use crate::clock::Clock;
use crate::database::IamLogin;
use crate::host::intake::Handler;
use crate::host::sqs_intake::{self, Invocation};
use crate::host::{BoxError, Work};
use crate::telemetry::{self, Telemetry};
use emf::Emf;

/// How long an answer waits for its spans to be sent.
const FLUSH: Duration = Duration::from_millis(50);

/// How long before its deadline an invocation ends its work by itself.
const MARGIN: Duration = Duration::from_secs(2);

/// What no address has, beside what is not ASCII. An HTTP API passes it on as the client sent it, or
/// decoded.
const NEVER_IN_A_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// A function that is about to take up its role. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lambda {
    pub(super) clock: Clock,
    pub(super) login: Option<IamLogin>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) metrics: Emf,
}

/// A part of an address without what no address has: `lambda_http` panics at that.
fn encoded(part: &str) -> String {
    utf8_percent_encode(part, NEVER_IN_A_URI).to_string()
}

impl Lambda {
    /// Answers requests that an HTTP API passes on.
    pub(super) async fn serve(self, api: Router) -> Result<(), BoxError> {
        let service = Adapter::from(service_fn(|request: Request| {
            let (this, api) = (self.clone(), api.clone());
            async move {
                this.prepare().await;
                let request = request.map(|body| Body::from(body.to_vec()));
                let response = api.oneshot(request).await;
                this.finish().await;
                response
            }
        }));
        let service = service.map_request(|mut event: LambdaEvent<LambdaRequest>| {
            if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
                for part in [&mut request.raw_path, &mut request.raw_query_string] {
                    *part = part.as_deref().map(encoded);
                }
            }
            event
        });
        lambda_runtime::run(service).await
    }

    /// Handles the messages of each invocation; those that failed are named in its answer.
    pub(super) async fn consume(
        self,
        queue: SqsQueue,
        handler: &impl Handler,
    ) -> Result<(), BoxError> {
        let (this, queue) = (&self, &queue);
        lambda_runtime::run(service_fn(async |event: LambdaEvent<Invocation>| {
            this.prepare().await;
            let answer = sqs_intake::answer(queue, &this.clock, handler, event.payload);
            let answer = Box::pin(answer).await;
            this.finish().await;
            Ok::<_, BoxError>(answer)
        }))
        .await
    }

    /// Moves on what is pending, whatever an invocation says.
    ///
    /// An invocation in which that did not come to an end fails, so that whoever invokes does so
    /// again.
    pub(super) async fn work(self, work: &impl Work) -> Result<(), BoxError> {
        let this = &self;
        lambda_runtime::run(service_fn(async |event: LambdaEvent<IgnoredAny>| {
            this.prepare().await;
            let until = this.deadline(event.context.deadline());
            let result = Box::pin(work.until(until)).await;
            if let Err(error) = &result {
                telemetry::failed(work.name(), error);
            }
            this.finish().await;
            // The runtime prints all that is in an error, which may be a row of somebody's.
            result.map_err(|error| BoxError::from(telemetry::causes(&error)))
        }))
        .await
    }

    /// Takes a step in each invocation.
    pub(super) async fn step<E: Into<BoxError>>(
        self,
        step: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BoxError> {
        let (this, step) = (&self, &step);
        lambda_runtime::run(service_fn(async |_: LambdaEvent<IgnoredAny>| {
            this.prepare().await;
            let result = step().await.map_err(Into::into);
            if let Err(error) = &result {
                let error = telemetry::causes(error.as_ref());
                tracing::error!(error, "the release step was not taken");
            }
            this.finish().await;
            // With everything that caused it: whoever invoked it has nothing else.
            result.map_err(|error: BoxError| BoxError::from(telemetry::causes(error.as_ref())))
        }))
        .await
    }

    async fn prepare(&self) {
        if let Some(login) = &self.login {
            login.renew().await;
        }
    }

    async fn finish(&self) {
        let mut lines = Vec::new();
        self.metrics.write(&mut lines);
        let _ = std::io::stdout().lock().write_all(&lines);
        self.telemetry.flush_within(FLUSH).await;
    }

    /// When work has to end, by a clock that cannot jump.
    fn deadline(&self, deadline: SystemTime) -> Instant {
        let left = DateTime::<Utc>::from(deadline) - self.clock.now();
        Instant::now() + left.to_std().unwrap_or_default().saturating_sub(MARGIN)
    }
}
