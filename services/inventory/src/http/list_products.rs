//! `GET /v1/products`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use shared::contract::product::Status;
use shared::http::Query;
use shared::http::page::{Limit, Page, PageRequest};
use shared::http::problem::Problem;
use shared::id::Seller;

use crate::App;
use crate::http::responses::ProductView;
use crate::product::Product;
use crate::store::products;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    status: Option<Status>,
    sku: Option<String>,
    /// 1 to 100; default 20.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists your products, newest first.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of your products", body = Page<ProductView>,
            headers(("Link"))),
    ),
)]
pub(crate) async fn list_products(
    State(app): State<App>,
    seller: Seller,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let scope = format!("products#{}#{:?}#{:?}", seller.id, filter.status, filter.sku);
    let page = PageRequest::new(&scope, filter.limit);
    let before = page.after(filter.cursor.as_deref())?;
    let found = match &filter.sku {
        None => {
            products::list(&app.pool, seller.id, filter.status, before, page.items_to_read())
                .await?
        }
        Some(sku) => {
            let found = products::find_by_sku(&app.pool, seller.id, sku).await?;
            let fits = |product: &Product| {
                filter.status.is_none_or(|status| product.status == status)
                    && before.is_none_or(|before| product.id < before)
            };
            found.into_iter().filter(fits).collect::<Vec<_>>()
        }
    };
    let found = found.into_iter().map(ProductView::from).collect();
    Ok(page.respond(&uri, found, |product: &ProductView| product.id))
}
