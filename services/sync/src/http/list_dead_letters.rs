//! `GET /v1/admin/dead-letters`

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use shared::bus::selection::{DeadLetter, Selection};
use shared::http::Query;
use shared::http::auth::Operator;
use shared::http::page::{Limit, Page, PageRequest};
use shared::http::problem::{self, Problem};

use super::dead_letter_selection::{check_queue, dead_before};
use crate::App;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// The queue, as `GET /v1/admin/queues` names it.
    queue: Option<String>,
    /// The type of the event, such as `ProductUpdated`.
    r#type: Option<String>,
    /// Part of the reason.
    reason: Option<String>,
    /// The minimum age in seconds.
    #[param(value_type = i64, minimum = 0, maximum = 4_294_967_295_i64)]
    older_than: Option<u32>,
    /// 1 to 100; 20 if absent.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists dead letters, oldest first.
#[utoipa::path(
    get, path = "/v1/admin/dead-letters", tag = "operators", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of dead letters", body = Page<DeadLetter>,
            headers(("Link"))),
    ),
)]
pub(crate) async fn list_dead_letters(
    State(app): State<App>,
    Operator(_operator): Operator,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let Filter { queue, r#type: event_type, reason, older_than, limit, cursor } = filter;
    check_queue(&app, queue.as_deref())
        .map_err(|detail| problem::MALFORMED_REQUEST.because(format!("queue: {detail}")))?;
    let mut scope = format!("dead-letters#{event_type:?}#{reason:?}#{older_than:?}");
    // Only if it is given, so that cursors from before there was this filter stay valid.
    if let Some(queue) = &queue {
        let _ = write!(scope, "#{queue:?}");
    }
    let page = PageRequest::new(&scope, limit);
    let after = page.after(cursor.as_deref())?.unwrap_or(0);
    let before = dead_before(&app.clock, older_than);
    let selection = Selection { queue, event_type, reason, before, ..Selection::default() };
    let found = app.dead_letters.list(&selection, after, page.items_to_read()).await?;
    Ok(page.respond(&uri, found, |letter| letter.id))
}
