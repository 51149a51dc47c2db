//! `GET /v1/products/{id}`

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::http::problem::Problem;
use shared::http::{PathId, etag, has_already};
use shared::id::{ProductId, Seller};

use crate::App;
use crate::http::responses::{ProductView, product_response};
use crate::store::products;

/// Returns one of your products.
#[utoipa::path(
    get, path = "/v1/products/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The product", body = ProductView, headers(("ETag"))),
        (status = 304, description = "The product has not changed"),
    ),
)]
pub(crate) async fn get_product(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let product = products::find(&app.pool, seller.id, id).await?.ok_or_else(Problem::not_found)?;
    let tag = etag(product.version);
    if has_already(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(product_response(product))
}
