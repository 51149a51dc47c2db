//! Operations: what sellers, buyers, operators and the machinery do, each through its real handler.

use std::fmt;

use axum::http::Method;
use serde_json::Value;
use shared::bus::dead_letters::{self, Action, Selection};
use shared::host::intake;
use shared::telemetry;
use testkit::{Answer, Call};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::process::Parts;

/// Who redrives dead letters.
const OPERATOR: Uuid = Uuid::from_u128(0x09e4);

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Request(Request),
    /// A batch of the outbox is published.
    Relay,
    /// A repair that reconciliation asked for is announced.
    Repair,
    /// A batch of the queue is projected.
    Intake,
    /// A batch is received, and then nothing: it comes again after the visibility timeout.
    Receive,
    /// A slice of the background pass.
    Reconcile,
    /// Old idempotency keys and old messages are looked for.
    Tidy,
    /// All dead letters go back into their queue.
    Redrive,
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) token: String,
    pub(crate) if_match: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) body: Option<Value>,
}

/// How an operation ended.
pub(crate) enum Done {
    Answered(Answer),
    Worked,
    /// What was pending is pending still.
    Failed(String),
}

// Both are read by people who look for the reason of a failure.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, if_match, key, body, .. } = self;
        write!(f, "{method} {path}")?;
        for (name, value) in [("If-Match", if_match), ("key", key)] {
            if let Some(value) = value {
                write!(f, " {name}: {value}")?;
            }
        }
        body.as_ref().map_or(Ok(()), |body| write!(f, " {body}"))
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(answer) => write!(f, "{} {}", answer.status.as_u16(), answer.text),
            Self::Worked => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl Operation {
    /// The product that a buyer asks for by its id.
    pub(crate) fn reads(&self) -> Option<Uuid> {
        let Self::Request(request) = self else { return None };
        request.path.strip_prefix("/v1/catalog/products/")?.parse().ok()
    }

    pub(crate) async fn perform(self, parts: &Parts) -> Done {
        let worked = match self {
            Self::Request(request) => return Done::Answered(request.send(parts).await),
            Self::Relay => parts.relay.once().await.map(drop).map_err(|e| telemetry::causes(&e)),
            Self::Repair => parts.relay.repair().await.map(drop).map_err(|e| telemetry::causes(&e)),
            Self::Intake => intake::once(&parts.queue, &parts.clock, &parts.projector)
                .await
                .map(drop)
                .map_err(|e| telemetry::causes(&e)),
            Self::Receive => {
                parts.queue.receive(3).await.map(drop).map_err(|e| telemetry::causes(&e))
            }
            Self::Reconcile => parts
                .reconciler
                .once(&CancellationToken::new())
                .await
                .map(drop)
                .map_err(|e| telemetry::causes(&e)),
            Self::Tidy => parts.queue.expire().await.map(drop).map_err(|e| telemetry::causes(&e)),
            Self::Redrive => {
                let (all, now) = (Selection::default(), parts.clock.now());
                dead_letters::settle(&parts.pool, &all, None, Action::Redrive, OPERATOR, now)
                    .await
                    .map(drop)
                    .map_err(|e| telemetry::causes(&e))
            }
        };
        worked.map_or_else(Done::Failed, |()| Done::Worked)
    }
}

impl Request {
    async fn send(self, parts: &Parts) -> Answer {
        let mut call = Call::new(self.method, &self.path).bearer(&self.token);
        if let Some(tag) = &self.if_match {
            call = call.header("if-match", tag);
        }
        if let Some(key) = &self.key {
            call = call.header("idempotency-key", key);
        }
        if let Some(body) = &self.body {
            call = call.json(body);
        }
        call.send(&parts.router).await
    }
}
