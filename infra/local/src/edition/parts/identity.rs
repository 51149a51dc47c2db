//! Identity: sign-up, login and the key set.
//!
//! Every edition has the demo users, since commands act on their behalf. This part serves clients.

use tokio::task::JoinSet;
use utoipa_axum::router::OpenApiRouter;

use super::service::{Context, Part, Service, Starting};

/// Sign-up, login and the key set.
pub(crate) const IDENTITY: Part = Part::new("identity");

/// The issuer of the tokens of a local edition.
pub const ISSUER: &str = shared::http::auth::EMBEDDED_ISSUER;

/// The audience of these tokens.
pub(crate) const AUDIENCE: &str = "vitrina";

pub(super) static SERVICE: Service = Service {
    parts: &[IDENTITY],
    migrator: Some(&identity::MIGRATOR),
    expensive_paths: identity::EXPENSIVE_PATHS,
    producer: None,
    openapi: || identity::routes().into_openapi(),
    start,
};

fn start<'a>(context: &'a Context, work: &'a mut JoinSet<()>) -> Starting<'a> {
    let mut routes = OpenApiRouter::new();
    if context.runs(IDENTITY) {
        work.spawn(identity::delete_expired::run(context.identity.clone(), context.stop.clone()));
        routes = identity::routes().with_state(context.identity.clone());
    }
    Box::pin(async { Ok(routes) })
}
