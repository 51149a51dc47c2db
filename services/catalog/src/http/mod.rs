//! The public catalogue: one file per endpoint. Endpoints read the store directly; there are no rules.

mod get_product;
mod list_categories;
mod list_products;

use shared::http::problem::Kind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub use get_product::ListedProduct;
pub(crate) use get_product::MAX_WAIT;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_products::list_products))
        .routes(routes!(get_product::get_product))
        .routes(routes!(list_categories::list_categories))
}

/// The kinds of problems that only this service returns.
pub static PROBLEMS: &[&Kind] = &[&get_product::NOT_YET_VISIBLE];
