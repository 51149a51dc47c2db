//! `GET /v1/admin/reconciliations`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::auth::Operator;
use shared::door::Query;
use shared::page::{self, Limit, Page, PageInfo};
use shared::problem::{INVALID_CURSOR, Problem, ProblemDocument};
use uuid::Uuid;

use crate::App;
use crate::store::runs::{self, Run};

/// What cursors of this list belong to.
const SCOPE: &str = "reconciliations";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 20 unless said.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists reconciliations, newest first: those that were asked for, and those in the background.
#[utoipa::path(
    get, path = "/v1/admin/reconciliations", tag = "operators", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of reconciliations", body = Page<Run>,
            headers(("Link"))),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_reconciliations(
    State(app): State<App>,
    Operator(_operator): Operator,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let before = match &filter.cursor {
        None => None,
        Some(cursor) => Some(
            page::decode_cursor(SCOPE, cursor)?
                .parse::<Uuid>()
                .map_err(|_| INVALID_CURSOR.because("the cursor cannot be read"))?,
        ),
    };
    let limit = filter.limit.get();
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut data = runs::list(&app.pool, before, one_more).await?;
    let has_more = data.len() > limit;
    data.truncate(limit);
    let last = data.last().filter(|_| has_more);
    let info = PageInfo::new(last.map(|last| page::encode_cursor(SCOPE, &last.id.to_string())));
    let link = info.link(uri.path(), uri.query());
    Ok((link, axum::Json(Page { data, page: info })).into_response())
}
