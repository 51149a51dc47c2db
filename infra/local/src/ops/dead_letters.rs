//! `/v1/admin/dead-letters`

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use shared::auth::Operator;
use shared::bus::dead_letters::{self, Action, DeadLetter, Selection};
use shared::door::{Json, Query};
use shared::page::{Asked, Limit, Page};
use shared::problem::{FieldError, Problem, ProblemDocument};

use super::Ops;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
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
pub(crate) struct DeadLetterSelection {
    ids: Option<Vec<i64>>,
    /// The type of the event, such as `ProductUpdated`.
    r#type: Option<String>,
    /// Part of the reason.
    reason: Option<String>,
    /// Seconds.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    older_than: Option<u32>,
    #[serde(default)]
    all: bool,
    /// Only counts.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Outcome {
    /// How many dead letters fit.
    matched: i64,
    /// How many of them were redriven or discarded: none in a dry run.
    settled: i64,
    dry_run: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WholeDeadLetter {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The message as it was received.
    body: String,
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
pub(crate) async fn list_dead_letters(
    State(ops): State<Ops>,
    Operator(_operator): Operator,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let scope =
        format!("dead-letters#{:?}#{:?}#{:?}", filter.r#type, filter.reason, filter.older_than);
    let asked = Asked::new(&scope, filter.limit);
    let after = asked.after(filter.cursor.as_deref())?.unwrap_or(0);
    let selection = selection(&ops, None, filter.r#type, filter.reason, filter.older_than);
    let found = dead_letters::list(&ops.pool, &selection, after, asked.to_read()).await?;
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
pub(crate) async fn get_dead_letter(
    State(ops): State<Ops>,
    Operator(_operator): Operator,
    id: Result<Path<i64>, axum::extract::rejection::PathRejection>,
) -> Result<axum::Json<WholeDeadLetter>, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found())?;
    let one = Selection { ids: Some(vec![id]), ..Selection::default() };
    let letter = dead_letters::list(&ops.pool, &one, 0, 1).await?.pop();
    let body = dead_letters::find_body(&ops.pool, id).await?;
    match (letter, body) {
        (Some(letter), Some(body)) => Ok(axum::Json(WholeDeadLetter { letter, body })),
        _ => Err(Problem::not_found()),
    }
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
pub(crate) async fn redrive_dead_letters(
    State(ops): State<Ops>,
    Operator(operator): Operator,
    body: Json<DeadLetterSelection>,
) -> Result<axum::Json<Outcome>, Problem> {
    settle(&ops, operator, body.value, Action::Redrive).await
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
pub(crate) async fn discard_dead_letters(
    State(ops): State<Ops>,
    Operator(operator): Operator,
    body: Json<DeadLetterSelection>,
) -> Result<axum::Json<Outcome>, Problem> {
    settle(&ops, operator, body.value, Action::Discard).await
}

async fn settle(
    ops: &Ops,
    operator: uuid::Uuid,
    sent: DeadLetterSelection,
    action: Action,
) -> Result<axum::Json<Outcome>, Problem> {
    let DeadLetterSelection { ids, r#type, reason, older_than, all, dry_run } = sent;
    if ids.is_none() && r#type.is_none() && reason.is_none() && older_than.is_none() && !all {
        let detail = "say which dead letters are meant, or \"all\": true";
        return Err(Problem::invalid(vec![FieldError::new("", "invalid", detail)]));
    }
    let selection = selection(ops, ids, r#type, reason, older_than);
    let (matched, settled) = if dry_run {
        (dead_letters::count(&ops.pool, &selection).await?, 0)
    } else {
        let now = ops.clock.now();
        let settled = dead_letters::settle(&ops.pool, &selection, action, operator, now).await?;
        (settled, settled)
    };
    Ok(axum::Json(Outcome { matched, settled, dry_run }))
}

fn selection(
    ops: &Ops,
    ids: Option<Vec<i64>>,
    event_type: Option<String>,
    reason: Option<String>,
    older_than: Option<u32>,
) -> Selection {
    let before = older_than.map(|seconds| ops.clock.now() - TimeDelta::seconds(seconds.into()));
    Selection { ids, event_type, reason, before, subject: None }
}
