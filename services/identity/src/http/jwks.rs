//! `GET /.well-known/jwks.json`

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::App;

/// How long a key set may be kept. Verifiers ask again by themselves when a token names another key.
pub(super) const CACHEABLE: &str = "public, max-age=300";

/// A JSON Web Key Set (RFC 7517).
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what jsonwebtoken writes")]
struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<()>,
}

/// The public keys that access tokens are verified with.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "identity",
    responses((status = 200, description = "The keys", body = KeySet, headers(("Cache-Control")))),
)]
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    let headers = [(header::CACHE_CONTROL, CACHEABLE)];
    (headers, axum::Json(app.issuer.jwks())).into_response()
}
