//! What operators see: the way of a change.

mod trace;

use axum::extract::FromRef;
use shared::bus::postgres::Queue;
use shared::http::auth::Verifier;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use trace::{Trace, TracedChange};

/// What the operators' API needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ops {
    pub(crate) pool: PgPool,
    pub(crate) verifier: Verifier,
    pub(crate) queue: Queue,
    pub(crate) catalog: catalog::App,
}

impl FromRef<Ops> for Verifier {
    fn from_ref(ops: &Ops) -> Self {
        ops.verifier.clone()
    }
}

pub(crate) fn routes() -> OpenApiRouter<Ops> {
    OpenApiRouter::new().routes(routes!(trace::get_trace))
}
