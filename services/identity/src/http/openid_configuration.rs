//! `GET /.well-known/openid-configuration`

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::App;
use crate::http::jwks::CACHEABLE;

/// The part of `OpenID` Connect Discovery that a verifier needs.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = OpenidConfiguration)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Returns the address of the key set, for verifiers.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "identity",
    responses((status = 200, description = "The provider's configuration", body = Configuration,
        headers(("Cache-Control")))),
)]
pub(crate) async fn openid_configuration(State(app): State<App>) -> Response {
    let issuer = app.issuer.address();
    let configuration = Configuration {
        jwks_uri: format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')),
        issuer: issuer.to_owned(),
    };
    let headers = [(header::CACHE_CONTROL, CACHEABLE)];
    (headers, axum::Json(configuration)).into_response()
}
