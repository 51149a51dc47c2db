//! Runs a service as an AWS Lambda function. The runtime sends one invocation at a time; between two
//! invocations the process is frozen.
//!
//! So metrics and spans of an invocation are flushed before its response, with a short timeout. An
//! unreachable collector loses spans and nothing else.

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

use crate::bus::aws::SqsQueue;
use crate::clock::Clock;
use crate::database::IamLogin;
use crate::host::intake::Handler;
use crate::host::sqs_intake::{self, Invocation};
use crate::host::{BoxError, Work};
use crate::telemetry::{self, Telemetry};
use emf::Emf;

/// How long a response waits for its spans to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// How long before its deadline an invocation stops its work.
const MARGIN: Duration = Duration::from_secs(2);

/// Characters that a URI cannot contain, besides non-ASCII ones. API Gateway passes them on raw or
/// decoded.
const NEVER_IN_A_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// A function that is about to run. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lambda {
    pub(super) clock: Clock,
    pub(super) login: Option<IamLogin>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) metrics: Emf,
}

/// Encodes characters that are invalid in a URI; `lambda_http` panics on them.
fn encoded(part: &str) -> String {
    utf8_percent_encode(part, NEVER_IN_A_URI).to_string()
}

impl Lambda {
    /// Serves requests from API Gateway.
    pub(super) async fn serve(self, api: Router) -> Result<(), BoxError> {
        let service = Adapter::from(service_fn(|request: Request| {
            let (this, api) = (self.clone(), api.clone());
            async move {
                let request = request.map(|body| Body::from(body.to_vec()));
                this.invocation(api.oneshot(request)).await
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

    /// Handles the messages of each invocation and reports the failed ones (partial batch response).
    pub(super) async fn consume(
        self,
        queue: SqsQueue,
        handler: &impl Handler,
    ) -> Result<(), BoxError> {
        let (this, queue) = (&self, &queue);
        lambda_runtime::run(service_fn(async |event: LambdaEvent<Invocation>| {
            let response =
                sqs_intake::handle_invocation(queue, &this.clock, handler, event.payload);
            Ok::<_, BoxError>(this.invocation(Box::pin(response)).await)
        }))
        .await
    }

    /// Advances pending work in each invocation; the payload is ignored.
    ///
    /// Returns an error to the invoker if the work did not finish, so that the invoker retries.
    pub(super) async fn work(self, work: &impl Work) -> Result<(), BoxError> {
        let this = &self;
        lambda_runtime::run(service_fn(async |event: LambdaEvent<IgnoredAny>| {
            let deadline = event.context.deadline();
            let result = this.invocation(async {
                let result = Box::pin(work.until(this.deadline(deadline))).await;
                result.inspect_err(|error| telemetry::failed(work.name(), error))
            });
            let result = result.await;
            // The runtime logs the whole error, whose details may contain a seller's row.
            result.map_err(|error| BoxError::from(telemetry::causes(&error)))
        }))
        .await
    }

    /// Runs `step` in each invocation.
    pub(super) async fn step<E: Into<BoxError>>(
        self,
        step: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BoxError> {
        let (this, step) = (&self, &step);
        lambda_runtime::run(service_fn(async |_: LambdaEvent<IgnoredAny>| {
            let result = this.invocation(async {
                let result: Result<(), BoxError> = step().await.map_err(Into::into);
                result.inspect_err(|error| {
                    let error = telemetry::causes(error.as_ref());
                    tracing::error!(error, "the release step failed");
                })
            });
            let result = result.await;
            // With all causes: the invoker sees nothing else.
            result.map_err(|error: BoxError| BoxError::from(telemetry::causes(error.as_ref())))
        }))
        .await
    }

    /// Runs the work of one invocation. Before it, the token of the database is renewed; after it,
    /// metrics and traces are sent, because a function is frozen between invocations.
    async fn invocation<T>(&self, work: impl Future<Output = T>) -> T {
        if let Some(login) = &self.login {
            login.renew().await;
        }
        let result = work.await;
        let mut lines = Vec::new();
        self.metrics.write(&mut lines);
        let _ = std::io::stdout().lock().write_all(&lines);
        self.telemetry.flush_within(FLUSH_TIMEOUT).await;
        result
    }

    /// The deadline for work, as a monotonic instant.
    fn deadline(&self, deadline: SystemTime) -> Instant {
        Instant::now() + time_for_work(deadline.into(), self.clock.now())
    }
}

/// How long an invocation may work. None if its deadline is near.
fn time_for_work(deadline: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (deadline - now).to_std().unwrap_or_default().saturating_sub(MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::{database, token_time};

    #[tokio::test]
    async fn invocation_renews_the_token_of_its_database_first() {
        let (database, clock) = database();
        let function = Lambda {
            metrics: Emf::new("Vitrina", "tested", "api", &clock),
            clock: clock.clone(),
            login: database.login.clone(),
            telemetry: Arc::default(),
        };
        assert_eq!(token_time(&database), None);
        for time in ["20240826T220000Z", "20240826T221000Z"] {
            let seen = function.invocation(async { token_time(&database) }).await;
            assert_eq!(seen.as_deref(), Some(time));
            clock.advance(Duration::from_mins(10));
        }
    }

    #[test]
    fn invocation_stops_its_work_two_seconds_before_its_deadline() {
        let deadline = DateTime::UNIX_EPOCH + Duration::from_hours(1);
        let time = |left| time_for_work(deadline, deadline - Duration::from_millis(left));
        assert_eq!(time(30_000), Duration::from_secs(28));
        assert_eq!(time(2_001), Duration::from_millis(1));
        assert_eq!([time(2_000), time(1), time(0)], [Duration::ZERO; 3]);
        let late = deadline + Duration::from_secs(5);
        assert_eq!(time_for_work(deadline, late), Duration::ZERO);
    }
}
