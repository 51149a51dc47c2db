//! `GET /v1/products/{id}/history`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::http::page::{Limit, Page, PageRequest};
use shared::http::problem::Problem;
use shared::http::{PathId, Query};
use shared::id::{ProductId, Seller, UserId};
use utoipa::ToSchema;

use crate::App;
use crate::http::responses::{ProductView, product_response};
use crate::store::journal::{self, Entry};
use crate::store::products;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Returns the product as it was at this time (RFC 3339) instead of the list.
    as_of: Option<DateTime<Utc>>,
    /// 1 to 100; default 20.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100)]
    limit: Limit,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// One version of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
struct EntryView {
    version: i64,
    at: DateTime<Utc>,
    /// The subject of the token that made the change.
    #[schema(value_type = Uuid)]
    actor: UserId,
    /// `created`, `updated`, `deleted`, `restored` or `repaired`.
    #[schema(example = "updated")]
    change: String,
    /// The product after the change.
    product: ProductView,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let Entry { version, at, actor, change, product } = entry;
        Self { version, at, actor, change, product: product.into() }
    }
}

/// A page of versions, or the product at a time.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the two responses of one operation")]
#[serde(untagged)]
enum History {
    Versions(Page<EntryView>),
    AsOf(ProductView),
}

/// Lists every version of one of your products, oldest first, with its actor and time.
///
/// Deleted products have a history as well.
#[utoipa::path(
    get, path = "/v1/products/{id}/history", tag = "products", security(("bearer" = [])),
    operation_id = "product_history",
    params(("id" = Uuid, Path), Filter),
    responses(
        (status = 200, description = "A page of versions; with `as_of`, the product itself",
            body = History, headers(("Link"))),
    ),
)]
pub(crate) async fn get_product_history(
    State(app): State<App>,
    seller: Seller,
    PathId(id): PathId<ProductId>,
    uri: Uri,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    products::find_including_deleted(&app.pool, seller.id, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    if let Some(at) = filter.as_of {
        let entry = journal::find_as_of(&app.pool, id, at).await?.ok_or_else(Problem::not_found)?;
        return Ok(product_response(entry.product));
    }
    let scope = format!("history#{id}");
    let page = PageRequest::new(&scope, filter.limit);
    let after = page.after(filter.cursor.as_deref())?.unwrap_or(0);
    let found = journal::list(&app.pool, id, after, page.items_to_read()).await?;
    let entries = found.into_iter().map(EntryView::from).collect();
    Ok(page.respond(&uri, entries, |entry: &EntryView| entry.version))
}
