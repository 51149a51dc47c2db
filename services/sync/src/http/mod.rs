//! The operators' API: one file per endpoint.

mod dead_letter_selection;
mod discard_dead_letters;
mod get_dead_letter;
mod get_reconciliation;
mod get_trace;
mod list_dead_letters;
mod list_queues;
mod list_reconciliations;
mod redrive_dead_letters;
mod request_reconciliation;

use shared::http::problem::Kind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub use dead_letter_selection::SettledDeadLetters;
pub use list_queues::Queues;

pub(crate) fn reconciliation_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(
            request_reconciliation::request_reconciliation,
            list_reconciliations::list_reconciliations
        ))
        .routes(routes!(get_reconciliation::get_reconciliation))
}

pub(crate) fn message_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_trace::get_trace))
        .routes(routes!(list_queues::list_queues))
        .routes(routes!(list_dead_letters::list_dead_letters))
        .routes(routes!(get_dead_letter::get_dead_letter))
        .routes(routes!(redrive_dead_letters::redrive_dead_letters))
        .routes(routes!(discard_dead_letters::discard_dead_letters))
}

/// The kinds of problems that only this service returns.
pub static PROBLEMS: &[&Kind] = &[];
