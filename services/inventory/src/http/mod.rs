//! The seller's API: one file per endpoint.

mod adjust_stock;
mod attributes;
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
mod responses;
mod restore_product;
mod set_stock;

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
        .routes(routes!(get_product_history::get_product_history))
        .routes(routes!(get_stock::get_stock, set_stock::set_stock))
        .routes(routes!(adjust_stock::adjust_stock))
        .routes(routes!(get_outbox::get_outbox))
}

pub(crate) use create_products::check as check_product;
pub use create_products::{BatchResults, ItemResult};
pub use refusals::PROBLEMS;
pub use responses::ProductView;
