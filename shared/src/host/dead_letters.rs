//! `/v1/admin/dead-letters` and `/v1/admin/queues`: what operators see of a queue and do with its dead
//! letters, wherever these are.

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::http::Uri;
use axum::response::Response;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bus::aws::SqsDeadLetters;
use crate::bus::aws::{SqsConfig, SqsQueue};
use crate::bus::dead_letter::{Action, DeadLetter, Selection};
use crate::bus::dead_letters::DeadLetters;
use crate::bus::message::QueueDepth;
use crate::clock::Clock;
use crate::http::auth::{Operator, Verifier};
use crate::http::page::{Asked, Limit, Page};
use crate::http::problem::{FieldError, Problem, ProblemDocument};
use crate::http::{Json, Query};

/// What the routes need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    pub letters: DeadLetters,
    pub clock: Clock,
    pub verifier: Verifier,
}

impl FromRef<Desk> for Verifier {
    fn from_ref(desk: &Desk) -> Self {
        desk.verifier.clone()
    }
}

/// The most that may be asked for by number.
const MAX_LIMIT: u16 = 1_000;

/// The routes for a queue of SQS and its dead letters, whose audit is in `pool`; none without one.
pub async fn of_sqs(
    config: Option<SqsConfig>,
    pool: &PgPool,
    clock: &Clock,
    verifier: &Verifier,
) -> Router {
    let Some(config) = config else { return Router::new() };
    let queue = SqsQueue::connect(&config, clock).await;
    let letters = DeadLetters::Sqs(SqsDeadLetters::new(queue, pool.clone()));
    let desk = Desk { letters, clock: clock.clone(), verifier: verifier.clone() };
    Router::from(routes()).with_state(desk)
}

pub fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list_queues))
        .routes(routes!(list_dead_letters))
        .routes(routes!(get_dead_letter))
        .routes(routes!(redrive_dead_letters))
        .routes(routes!(discard_dead_letters))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// The type of the event, such as `ProductUpdated`.
    r#type: Option<String>,
    /// Part of the reason.
    reason: Option<String>,
    /// Seconds.
    #[param(value_type = i64, minimum = 0, maximum = 4_294_967_295_i64)]
    older_than: Option<u32>,
    /// 1 to 100, 20 unless said.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which dead letters are meant: those that fit everything that is said. Say at least one thing, or
/// `all`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DeadLetterSelection {
    ids: Option<Vec<i64>>,
    /// The type of the event, such as `ProductUpdated`.
    #[schema(min_length = 1)]
    r#type: Option<String>,
    /// Part of the reason.
    #[schema(min_length = 1)]
    reason: Option<String>,
    /// Seconds.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    older_than: Option<u32>,
    #[serde(default)]
    all: bool,
    /// At most so many, the oldest first: who redrives many sends them bit by bit.
    #[schema(minimum = 1, maximum = 1_000)]
    limit: Option<u16>,
    /// Only counts.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Outcome {
    /// How many dead letters fit, at most as many as were asked for.
    matched: i64,
    /// How many of them were redriven or discarded: none in a dry run.
    settled: i64,
    dry_run: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
struct WholeDeadLetter {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The message as it was received.
    body: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Queues {
    data: Vec<QueueDepth>,
}

/// How deep the queues are.
#[utoipa::path(
    get, path = "/v1/admin/queues", tag = "operators", security(("bearer" = [])),
    responses(
        (status = 200, description = "The queues", body = Queues),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
async fn list_queues(
    State(desk): State<Desk>,
    Operator(_operator): Operator,
) -> Result<axum::Json<Queues>, Problem> {
    Ok(axum::Json(Queues { data: vec![desk.letters.depth().await?] }))
}

/// Lists dead letters, oldest first.
#[utoipa::path(
    get, path = "/v1/admin/dead-letters", tag = "operators", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of dead letters", body = Page<DeadLetter>,
            headers(("Link"))),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
async fn list_dead_letters(
    State(desk): State<Desk>,
    Operator(_operator): Operator,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let scope =
        format!("dead-letters#{:?}#{:?}#{:?}", filter.r#type, filter.reason, filter.older_than);
    let asked = Asked::new(&scope, filter.limit);
    let after = asked.after(filter.cursor.as_deref())?.unwrap_or(0);
    let selection = selection(&desk, None, filter.r#type, filter.reason, filter.older_than);
    let found = desk.letters.list(&selection, after, asked.to_read()).await?;
    Ok(asked.answer(&uri, found, |letter| letter.id))
}

/// Reads one dead letter with its message.
#[utoipa::path(
    get, path = "/v1/admin/dead-letters/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses(
        (status = 200, description = "The dead letter", body = WholeDeadLetter),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
async fn get_dead_letter(
    State(desk): State<Desk>,
    Operator(_operator): Operator,
    id: Result<Path<i64>, axum::extract::rejection::PathRejection>,
) -> Result<axum::Json<WholeDeadLetter>, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found())?;
    let (letter, body) = desk.letters.find(id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(WholeDeadLetter { letter, body }))
}

/// Puts dead letters back into their queue.
#[utoipa::path(
    post, path = "/v1/admin/dead-letters/redrive", tag = "operators",
    security(("bearer" = [])), request_body = DeadLetterSelection,
    responses(
        (status = 200, description = "How many", body = Outcome),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
async fn redrive_dead_letters(
    State(desk): State<Desk>,
    Operator(operator): Operator,
    body: Json<DeadLetterSelection>,
) -> Result<axum::Json<Outcome>, Problem> {
    settle(&desk, operator, body.value, Action::Redrive).await
}

/// Gives dead letters up for good.
#[utoipa::path(
    post, path = "/v1/admin/dead-letters/discard", tag = "operators",
    security(("bearer" = [])), request_body = DeadLetterSelection,
    responses(
        (status = 200, description = "How many", body = Outcome),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
async fn discard_dead_letters(
    State(desk): State<Desk>,
    Operator(operator): Operator,
    body: Json<DeadLetterSelection>,
) -> Result<axum::Json<Outcome>, Problem> {
    settle(&desk, operator, body.value, Action::Discard).await
}

async fn settle(
    desk: &Desk,
    operator: uuid::Uuid,
    sent: DeadLetterSelection,
    action: Action,
) -> Result<axum::Json<Outcome>, Problem> {
    let DeadLetterSelection { ids, r#type, reason, older_than, all, limit, dry_run } = sent;
    if ids.is_none() && r#type.is_none() && reason.is_none() && older_than.is_none() && !all {
        let detail = "say which dead letters are meant, or \"all\": true";
        return Err(Problem::invalid(vec![FieldError::new("", "invalid", detail)]));
    }
    if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
        let detail = "must be a whole number from 1 to 1000";
        return Err(Problem::invalid(vec![FieldError::new("/limit", "out_of_range", detail)]));
    }
    // A variable that was never set must not mean all of them.
    for (pointer, text) in [("/type", &r#type), ("/reason", &reason)] {
        if text.as_ref().is_some_and(String::is_empty) {
            let fault = FieldError::new(pointer, "invalid", "must not be empty");
            return Err(Problem::invalid(vec![fault]));
        }
    }
    let limit = limit.map(i64::from);
    let selection = selection(desk, ids, r#type, reason, older_than);
    let (matched, settled) = if dry_run {
        let count = desk.letters.count(&selection).await?;
        (limit.map_or(count, |limit| count.min(limit)), 0)
    } else {
        let now = desk.clock.now();
        let settled = desk.letters.settle(&selection, limit, action, operator, now).await?;
        (settled, settled)
    };
    Ok(axum::Json(Outcome { matched, settled, dry_run }))
}

fn selection(
    desk: &Desk,
    ids: Option<Vec<i64>>,
    event_type: Option<String>,
    reason: Option<String>,
    older_than: Option<u32>,
) -> Selection {
    let before = older_than.map(|seconds| desk.clock.now() - TimeDelta::seconds(seconds.into()));
    Selection { ids, event_type, reason, before, subject: None }
}
