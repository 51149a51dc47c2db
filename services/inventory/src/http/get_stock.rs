//! `GET /v1/products/{id}/stock`

use axum::extract::State;
use axum::response::Response;
use shared::http::PathId;
use shared::http::problem::Problem;
use shared::id::{ProductId, Seller};

use crate::App;
use crate::http::responses::{StockView, stock_response};
use crate::store::stock;

/// Returns the stock of one of your products.
#[utoipa::path(
    get, path = "/v1/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The stock", body = StockView, headers(("ETag"))),
    ),
)]
pub(crate) async fn get_stock(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
) -> Result<Response, Problem> {
    let stock = stock::find(&app.pool, seller.id, id).await?.ok_or_else(Problem::not_found)?;
    Ok(stock_response(&stock))
}
