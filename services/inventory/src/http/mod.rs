//! The seller's API: one file an endpoint.

mod adjust_stock;
pub(crate) mod attributes;
mod change_product;
mod create_product;
mod create_products;
mod delete_product;
mod get_outbox;
mod get_product;
mod get_product_history;
mod get_stock;
pub(crate) mod input;
mod list_products;
mod refusals;
mod restore_product;
mod set_stock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use shared::contract::product::Product;
use shared::contract::stock::Stock;
use shared::door::etag;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_product::create_product, list_products::list_products))
        .routes(routes!(create_products::create_products))
        .routes(routes!(
            get_product::get_product,
            change_product::change_product,
            delete_product::delete_product
        ))
        .routes(routes!(restore_product::restore_product))
        .routes(routes!(get_product_history::product_history))
        .routes(routes!(get_stock::get_stock, set_stock::set_stock))
        .routes(routes!(adjust_stock::adjust_stock))
        .routes(routes!(get_outbox::get_outbox))
}

pub(crate) use create_products::check as check_product;
pub use refusals::PROBLEMS;
pub(crate) use refusals::SKU_TAKEN;

/// A product with the `ETag` of its version.
fn product_response(product: &Product) -> Response {
    ([(header::ETAG, etag(product.version))], axum::Json(product)).into_response()
}

/// What the API says about stock.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Stock)]
struct StockView {
    /// Pieces that you have.
    on_hand: i64,
    /// Pieces of those that buyers hold.
    held: i64,
    /// Pieces that can still be bought.
    available: i64,
    /// Has nothing to do with the product's version.
    version: i64,
}

fn stock_response(stock: &Stock) -> Response {
    let view = StockView {
        on_hand: stock.on_hand,
        held: stock.held,
        available: stock.available(),
        version: stock.version,
    };
    ([(header::ETAG, etag(stock.version))], axum::Json(view)).into_response()
}
