//! `GET /v1/products`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::auth::Seller;
use shared::contract::product::{Product, Status};
use shared::door::Query;
use shared::page::{self, Limit, Page, PageInfo};
use shared::problem::{INVALID_CURSOR, Problem, ProblemDocument};
use uuid::Uuid;

use crate::App;
use crate::store::products;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    status: Option<Status>,
    sku: Option<String>,
    /// 1 to 100, 20 unless said.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists your own products, newest first.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", security(("bearer" = [])),
    params(Filter),
    responses(
        (status = 200, description = "A page of your products", body = Page<Product>,
            headers(("Link"))),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_products(
    State(app): State<App>,
    Seller(seller_id): Seller,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let scope = format!("products#{seller_id}#{:?}#{:?}", filter.status, filter.sku);
    let before = match &filter.cursor {
        None => None,
        Some(cursor) => Some(
            page::decode_cursor(&scope, cursor)?
                .parse::<Uuid>()
                .map_err(|_| INVALID_CURSOR.because("the cursor cannot be read"))?,
        ),
    };
    let limit = filter.limit.get();
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let sku = filter.sku.as_deref();
    let mut data =
        products::list(&app.pool, seller_id, filter.status, sku, before, one_more).await?;
    let has_more = data.len() > limit;
    data.truncate(limit);
    let last = data.last().filter(|_| has_more);
    let info = PageInfo::new(last.map(|last| page::encode_cursor(&scope, &last.id.to_string())));
    let link = info.link(uri.path(), uri.query());
    Ok((link, axum::Json(Page { data, page: info })).into_response())
}
