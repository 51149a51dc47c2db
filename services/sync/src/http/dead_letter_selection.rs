//! The selection of dead letters to redrive or to discard.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::bus::selection::{Action, Selection};
use shared::clock::Clock;
use shared::http::problem::{FieldError, Problem};
use shared::id::UserId;

use crate::App;

/// The most dead letters that `limit` may name.
const MAX_LIMIT: u16 = 1_000;

/// Selects the dead letters that match every given field. At least one field, or `all`, is required.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterSelection {
    ids: Option<Vec<i64>>,
    /// The queue, as `GET /v1/admin/queues` names it.
    #[schema(min_length = 1)]
    queue: Option<String>,
    /// The type of the event, such as `ProductUpdated`.
    #[schema(min_length = 1)]
    r#type: Option<String>,
    /// Part of the reason.
    #[schema(min_length = 1)]
    reason: Option<String>,
    /// The minimum age in seconds.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    older_than: Option<u32>,
    #[serde(default)]
    all: bool,
    /// The most to settle, oldest first. Redrive many dead letters in several small requests.
    #[schema(minimum = 1, maximum = 1_000)]
    limit: Option<u16>,
    /// Only counts.
    #[serde(default)]
    dry_run: bool,
}

/// How many dead letters were matched and settled.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettledDeadLetters {
    /// How many dead letters match, at most `limit`.
    pub matched: i64,
    /// How many of them were redriven or discarded; 0 in a dry run.
    pub settled: i64,
    pub dry_run: bool,
}

/// Refuses an unknown queue: a misspelt name would look like a queue without dead letters.
pub(super) fn check_queue(app: &App, queue: Option<&str>) -> Result<(), String> {
    let queues = app.dead_letters.queues();
    match queue.filter(|name| !queues.contains(name)) {
        Some(_) => Err(format!("is not a queue; the queues are {}", queues.join(", "))),
        None => Ok(()),
    }
}

/// The latest time at which a dead letter that is at least `older_than` seconds old was made.
pub(super) fn dead_before(clock: &Clock, older_than: Option<u32>) -> Option<DateTime<Utc>> {
    older_than.map(|seconds| clock.now() - TimeDelta::seconds(seconds.into()))
}

/// Does `action` with the selected dead letters.
pub(super) async fn settle(
    app: &App,
    operator: UserId,
    sent: DeadLetterSelection,
    action: Action,
) -> Result<axum::Json<SettledDeadLetters>, Problem> {
    let DeadLetterSelection {
        ids,
        queue,
        r#type: event_type,
        reason,
        older_than,
        all,
        limit,
        dry_run,
    } = sent;
    let is_selected =
        queue.is_some() || event_type.is_some() || reason.is_some() || older_than.is_some();
    if ids.is_none() && !is_selected && !all {
        let detail = "select dead letters by a field, or send \"all\": true";
        return Err(Problem::invalid(vec![FieldError::new("", "invalid", detail)]));
    }
    if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
        let detail = "must be a whole number from 1 to 1000";
        return Err(Problem::invalid(vec![FieldError::new("/limit", "out_of_range", detail)]));
    }
    // A script sends an empty string for an unset variable; it must not select every dead letter.
    for (pointer, text) in [("/queue", &queue), ("/type", &event_type), ("/reason", &reason)] {
        if text.as_ref().is_some_and(String::is_empty) {
            let fault = FieldError::new(pointer, "invalid", "must not be empty");
            return Err(Problem::invalid(vec![fault]));
        }
    }
    if let Err(detail) = check_queue(app, queue.as_deref()) {
        return Err(Problem::invalid(vec![FieldError::new("/queue", "invalid", detail)]));
    }
    let limit = limit.map(i64::from);
    let before = dead_before(&app.clock, older_than);
    let selection = Selection { ids, queue, event_type, reason, before, subject: None };
    let (matched, settled) = if dry_run {
        let count = app.dead_letters.count(&selection).await?;
        (limit.map_or(count, |limit| count.min(limit)), 0)
    } else {
        let now = app.clock.now();
        let settled = app.dead_letters.settle(&selection, limit, action, operator, now).await?;
        (settled, settled)
    };
    Ok(axum::Json(SettledDeadLetters { matched, settled, dry_run }))
}
