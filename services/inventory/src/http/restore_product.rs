//! `POST /v1/products/{id}/restore`

use axum::extract::State;
use axum::response::Response;
use shared::contract::product::Product;
use shared::http::PathId;
use shared::http::auth::Seller;
use shared::http::problem::{Problem, ProblemDocument};
use shared::http::request::RequestContext;

use crate::App;
use crate::http::{Revision, product_response};
use crate::product;

/// Restores one of your products that was deleted. One that is not deleted stays as it is.
#[utoipa::path(
    post, path = "/v1/products/{id}/restore", tag = "products", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The product", body = Product, headers(("ETag"))),
        (status = 409, description = "The SKU is taken", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn restore_product(
    State(app): State<App>,
    Seller(seller_id): Seller,
    PathId(id): PathId,
    request: RequestContext,
) -> Result<Response, Problem> {
    let change = "restored";
    let revision = Revision { seller_id, id, even_deleted: true, change, request };
    let restored =
        revision.make(&app, |product| Ok(product::restore(product, app.clock.now()))).await?;
    Ok(product_response(&restored))
}
