//! `POST /v1/products/{id}/restore`

use axum::extract::State;
use axum::response::Response;
use shared::auth::Seller;
use shared::contract::product::Product;
use shared::door::PathId;
use shared::problem::{Problem, ProblemDocument};
use shared::request::RequestContext;

use crate::App;
use crate::http::{cause, product_response, stale};
use crate::product;
use crate::store::products;

/// Restores one of your products that was deleted. One that is not deleted stays as it is.
#[utoipa::path(
    post, path = "/v1/products/{id}/restore", tag = "products", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The product", body = Product, headers(("ETag"))),
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
    let product = products::find_even_deleted(&app.pool, seller_id, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let Some(restored) = product::restore(&product, app.clock.now()) else {
        return Ok(product_response(&product));
    };
    let cause = cause(&app, seller_id, request);
    if !products::update(&app.pool, &restored, "restored", &cause).await? {
        return Err(stale(restored.version));
    }
    app.committed.notify_one();
    Ok(product_response(&restored))
}
