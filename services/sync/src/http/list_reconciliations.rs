//! `GET /v1/admin/reconciliations`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use shared::http::Query;
use shared::http::auth::Operator;
use shared::http::page::{Limit, Page, PageRequest};
use shared::http::problem::Problem;

use crate::App;
use crate::store::runs::{self, Run};

/// Cursors are valid only for the list of this name.
const SCOPE: &str = "reconciliations";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100; 20 if absent.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists requested reconciliations and background passes, newest first.
#[utoipa::path(
    get, path = "/v1/admin/reconciliations", tag = "operators", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of reconciliations", body = Page<Run>,
            headers(("Link"))),
    ),
)]
pub(crate) async fn list_reconciliations(
    State(app): State<App>,
    Operator(_operator): Operator,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let page = PageRequest::new(SCOPE, filter.limit);
    let before = page.after(filter.cursor.as_deref())?;
    let found = runs::list(&app.pool, before, page.items_to_read()).await?;
    Ok(page.respond(&uri, found, |run| run.id))
}
