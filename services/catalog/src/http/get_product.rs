//! `GET /v1/catalog/products/{id}`

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::contract::listing::ListingItem;
use shared::contract::product::{Attributes, ContentHash, Product, describe_attributes};
use shared::http::problem::{FieldError, Kind, Problem, ProblemDocument};
use shared::http::{PathId, Query, has_already};
use shared::id::{ProductId, SellerId};
use shared::money::Money;
use tokio::time::Instant;

use crate::App;

pub(crate) static NOT_YET_VISIBLE: Kind = Kind {
    code: "not_yet_visible",
    status: 503,
    title: "The version is not visible yet",
    explanation: "The catalogue has not received the version given in `min_version` and its stock, \
                  or too many requests are waiting already. Retry after the number of seconds in \
                  `Retry-After`.",
};

/// How long a request may wait for a version, by default.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);

/// The first and the longest pause between two reads.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// Waits up to 2 s until the catalogue has this version or a newer one. Use the version that a
    /// write returned.
    #[param(minimum = 1)]
    min_version: Option<i64>,
}

/// A product as buyers see it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListedProduct {
    #[schema(value_type = Uuid)]
    pub id: ProductId,
    #[schema(value_type = Uuid)]
    pub seller_id: SellerId,
    pub sku: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    pub category: String,
    #[schema(schema_with = describe_attributes)]
    pub attributes: Attributes,
    pub price: Money,
    pub in_stock: bool,
    /// Number of pieces that can be bought now.
    pub available: i64,
    pub version: i64,
    pub content_hash: ContentHash,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Returns one product. Reads never go backwards: a version is never followed by an older one.
#[utoipa::path(
    get, path = "/v1/catalog/products/{id}", tag = "catalogue",
    params(("id" = Uuid, Path), Parameters, ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The product", body = ListedProduct, headers(("ETag"))),
        (status = 304, description = "The product has not changed"),
        (status = 422, description = "`min_version` is not a valid version", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = 503, description = "The version is not visible yet", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get_product(
    State(app): State<App>,
    PathId(id): PathId<ProductId>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listing = match parameters.min_version {
        None => app.listings.find(id).await?,
        Some(version) if version >= 1 => Some(wait(&app, id, version).await?),
        Some(_) => {
            let fault = FieldError::new("min_version", "invalid", "must be at least 1");
            return Err(Problem::invalid(vec![fault]));
        }
    };
    let (listing, product) = listing
        .filter(ListingItem::has_stock)
        .and_then(|listing| listing.product().map(|product| (listing, product)))
        .filter(|(_, product)| product.is_listed())
        .ok_or_else(Problem::not_found)?;
    // Includes the positions, because a repair changes a listing without changing its versions.
    let (product_fence, stock_fence) = (listing.product_fence(), listing.stock_fence());
    let tag = format!(
        "\"v{}.{}-{}.{}\"",
        product_fence.version, stock_fence.version, product_fence.position, stock_fence.position
    );
    // A shared cache may store the response but must revalidate it each time, so that reads by id never
    // go backwards.
    let shared_headers =
        [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "public, no-cache".to_owned())];
    if has_already(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, shared_headers).into_response());
    }
    Ok((shared_headers, axum::Json(view(&listing, product))).into_response())
}

fn view(listing: &ListingItem, product: Product) -> ListedProduct {
    ListedProduct {
        id: product.id,
        seller_id: product.seller_id,
        sku: product.sku,
        name: product.name,
        description: product.description,
        category: product.category,
        attributes: product.attributes,
        price: product.price,
        in_stock: listing.available() > 0,
        available: listing.available().max(0),
        version: product.version,
        content_hash: product.content_hash,
        created_at: product.created_at,
        updated_at: product.updated_at,
    }
}

/// Polls with growing pauses until the listing has reached `version`.
async fn wait(app: &App, id: ProductId, version: i64) -> Result<ListingItem, Problem> {
    let not_yet = || NOT_YET_VISIBLE.because("").retry_after(1);
    let read = async || {
        let found = app.listings.find(id).await?;
        // A later event may arrive before the one that carries the stock. A tombstone needs none.
        let is_whole = |listing: &ListingItem| listing.has_stock() || listing.deleted_at.is_some();
        Ok::<_, Problem>(found.filter(|found| found.product_version >= version && is_whole(found)))
    };
    // Before a waiter's place is taken: requests that wait for a version that never comes must not
    // block requests for versions that are there.
    if let Some(listing) = read().await? {
        return Ok(listing);
    }
    let Ok(_waiter) = app.waiters.try_acquire() else {
        return Err(not_yet());
    };
    let deadline = Instant::now() + app.max_wait;
    let mut pause = FIRST_PAUSE;
    while Instant::now() + pause <= deadline {
        tokio::time::sleep(pause).await;
        if let Some(listing) = read().await? {
            return Ok(listing);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(not_yet())
}
