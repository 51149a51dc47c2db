//! `GET /.well-known/jwks.json`

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::App;

/// How long a key set may be cached. Verifiers fetch it again when a token names an unknown key.
pub(super) const CACHEABLE: &str = "public, max-age=300";

/// A JSON Web Key Set (RFC 7517).
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the type that jsonwebtoken serialises")]
struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<()>,
}

/// Returns the public keys that verify access tokens.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "identity",
    responses((status = 200, description = "The keys", body = KeySet, headers(("Cache-Control")))),
)]
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    let headers = [(header::CACHE_CONTROL, CACHEABLE)];
    (headers, axum::Json(app.issuer.jwks())).into_response()
}
