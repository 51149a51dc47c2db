//! `PATCH /v1/products/{id}`

use axum::extract::State;
use axum::response::Response;
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::http::{IfMatch, Json, PathId};
use shared::id::{ProductId, Seller};

use crate::App;
use crate::http::input::SentPatch;
use crate::http::responses::{ProductView, product_response};
use crate::product::{self, ChangeProduct, Product};
use crate::revise::Revision;

/// Changes one of your products with a JSON merge patch (RFC 7396).
///
/// A patch that changes nothing does not make a new version.
#[utoipa::path(
    patch, path = "/v1/products/{id}", tag = "products", security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path),
        ("If-Match" = String, Header, description = "The `ETag` of the version to change"),
    ),
    request_body(content(
        (SentPatch = "application/merge-patch+json"), (SentPatch = "application/json"))),
    responses(
        (status = 200, description = "The product after the change", body = ProductView,
            headers(("ETag"))),
        (status = 409, description = "The SKU is taken", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change_product(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    IfMatch(expected): IfMatch,
    request: RequestContext,
    body: Json<SentPatch>,
) -> Result<Response, Problem> {
    let patch = ChangeProduct::from(body.value);
    let revision = Revision { seller, id, including_deleted: false, change: "updated", request };
    let decide = |product: &Product| product::change(product, &patch, &expected, app.clock.now());
    Ok(product_response(revision.apply(&app, decide).await?))
}
