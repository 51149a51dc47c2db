//! Operations of sellers, buyers, operators and background workers, each through its real handler.

use std::fmt;

use axum::http::Method;
use serde_json::Value;
use shared::bus::postgres::dead_letters;
use shared::bus::selection::{Action, Selection};
use shared::host::intake;
use shared::id::{ProductId, UserId};
use shared::telemetry;
use testkit::{Call, TestResponse};
use tokio_util::sync::CancellationToken;

use crate::process::Parts;

/// The actor of redrives.
const OPERATOR: UserId = UserId::from_u128(0x09e4);

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Request(Request),
    /// Publishes a batch of the outbox.
    Relay,
    /// Announces a product that reconciliation asked to repair.
    Repair,
    /// Projects a batch of the queue.
    Intake,
    /// Receives a batch and never acknowledges it, so that it returns after the visibility timeout.
    Receive,
    /// Runs a slice of the background pass.
    Reconcile,
    /// Moves old messages to the dead letters and deletes old dead letters.
    Expire,
    /// Sends all dead letters back to their queue.
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

/// The result of an operation.
pub(crate) enum Done {
    Response(TestResponse),
    Worked,
    /// The pending work is still pending.
    Failed(String),
}

// Both appear in the log of a failed run.
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
            Self::Response(response) => write!(f, "{} {}", response.status.as_u16(), response.text),
            Self::Worked => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl Operation {
    /// The product that a buyer's request reads by id.
    pub(crate) fn reads(&self) -> Option<ProductId> {
        let Self::Request(request) = self else { return None };
        request.path.strip_prefix("/v1/catalog/products/")?.parse().ok()
    }

    pub(crate) async fn perform(self, parts: &Parts) -> Done {
        let worked = match self {
            Self::Request(request) => return Done::Response(request.send(parts).await),
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
            Self::Expire => parts.queue.expire().await.map(drop).map_err(|e| telemetry::causes(&e)),
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
    async fn send(self, parts: &Parts) -> TestResponse {
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
