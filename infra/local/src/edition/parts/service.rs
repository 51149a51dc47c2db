//! What a service brings to the edition, and what the edition gives to its services.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde_json::Value;
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::contract::envelope::{Envelope, Event};
use shared::http::auth::Verifier;
use shared::id::Ids;
use shared::money::Currency;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// A part of a service that a process can run or leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(&'static str);

impl Part {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name as `--roles` takes it.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a service brings to the edition.
pub(crate) struct Service {
    pub(crate) parts: &'static [Part],
    /// Run before anything starts.
    pub(crate) migrator: Option<&'static Migrator>,
    /// Paths on which a request costs more than one in the rate limit.
    pub(crate) expensive_paths: &'static [&'static str],
    /// What it publishes, if it publishes events.
    pub(crate) producer: Option<fn() -> Producer>,
    /// The description of its routes, without anything running.
    pub(crate) openapi: fn() -> OpenApi,
    /// Prepares its stores, starts the background work of its chosen parts and returns their
    /// routes.
    pub(crate) start: for<'a> fn(&'a Context, &'a mut JoinSet<()>) -> Starting<'a>,
}

pub(crate) type Starting<'a> = BoxFuture<'a, Result<OpenApiRouter, ServiceError>>;

/// A producer of events, as the AsyncAPI document describes it.
pub(crate) struct Producer {
    pub(crate) channel: &'static str,
    pub(crate) operation: &'static str,
    /// The name of the schema of its envelopes.
    pub(crate) envelope: &'static str,
    pub(crate) schema: Value,
    pub(crate) source: &'static str,
    pub(crate) types: &'static [&'static str],
}

impl Producer {
    pub(crate) fn of<E: Event + JsonSchema>(
        channel: &'static str,
        operation: &'static str,
        envelope: &'static str,
    ) -> Self {
        let schema = schemars::schema_for!(Envelope<E>).to_value();
        Self { channel, operation, envelope, schema, source: E::SOURCE, types: E::TYPES }
    }
}

/// What the edition gives to its services.
pub(crate) struct Context {
    pub(crate) parts: Vec<Part>,
    /// Connections for requests.
    pub(crate) requests: PgPool,
    /// Connections for background work.
    pub(crate) background: PgPool,
    pub(crate) dynamodb: Client,
    /// The queue of the catalogue, over the connections of background work.
    pub(crate) queue: Queue,
    /// Notified when messages were put into the queue.
    pub(crate) published: Arc<Notify>,
    /// Whether no other process uses the database.
    pub(crate) is_database_private: bool,
    pub(crate) identity: identity::App,
    pub(crate) verifier: Verifier,
    pub(crate) currency: Currency,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) stop: CancellationToken,
}

impl Context {
    /// Whether this process runs `part`.
    pub(crate) fn runs(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("creating the table of listings")]
    Table(#[from] catalog::table::TableError),
    #[error("releasing messages that a killed process had received")]
    Release(#[source] sqlx::Error),
}
