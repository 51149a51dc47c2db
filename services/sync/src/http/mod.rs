//! The operators' API: one file an endpoint.

mod get_reconciliation;
mod list_reconciliations;
mod request_reconciliation;

use shared::http::problem::Kind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(
            request_reconciliation::request_reconciliation,
            list_reconciliations::list_reconciliations
        ))
        .routes(routes!(get_reconciliation::get_reconciliation))
}

/// The kinds of problems that only this service answers with.
pub static PROBLEMS: &[&Kind] = &[];
