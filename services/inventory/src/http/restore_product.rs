//! `POST /v1/products/{id}/restore`

use axum::extract::State;
use axum::response::Response;
use shared::http::PathId;
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::request::RequestContext;
use shared::id::{ProductId, Seller};

use crate::App;
use crate::http::responses::{ProductView, product_response};
use crate::product::{self, Product};
use crate::revise::Revision;

/// Restores one of your deleted products.
///
/// A product that is not deleted stays unchanged.
#[utoipa::path(
    post, path = "/v1/products/{id}/restore", tag = "products", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The product", body = ProductView, headers(("ETag"))),
        (status = 409, description = "The SKU is taken", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn restore_product(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    request: RequestContext,
) -> Result<Response, Problem> {
    let revision = Revision { seller, id, including_deleted: true, change: "restored", request };
    let decide = |product: &Product| Ok(product::restore(product, app.clock.now()));
    Ok(product_response(revision.apply(&app, decide).await?))
}
