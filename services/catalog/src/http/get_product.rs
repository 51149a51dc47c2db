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
use shared::money::Money;
use tokio::time::Instant;
use uuid::Uuid;

use crate::App;

pub(crate) static NOT_YET_VISIBLE: Kind = Kind {
    code: "not_yet_visible",
    status: 503,
    title: "The version has not arrived yet",
    explanation: "The catalogue has not seen the version that `min_version` asks for, or too many \
                  readers wait already. Wait as many seconds as `Retry-After` says and ask again.",
};

/// How long a reader may wait for a version.
const PATIENCE: Duration = Duration::from_secs(2);

/// The first and the longest pause between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Waits up to 2 s for this version of the product: what a write answered.
    #[param(minimum = 1)]
    min_version: Option<i64>,
}

/// A product as buyers see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ListedProduct {
    id: Uuid,
    seller_id: Uuid,
    sku: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    category: String,
    #[schema(schema_with = describe_attributes)]
    attributes: Attributes,
    price: Money,
    in_stock: bool,
    /// Pieces that can be bought now.
    available: i64,
    version: i64,
    content_hash: ContentHash,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Reads one product. Never goes backwards: who saw a version never sees an older one.
#[utoipa::path(
    get, path = "/v1/catalog/products/{id}", tag = "catalogue",
    params(("id" = Uuid, Path), Wanted, ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The product", body = ListedProduct, headers(("ETag"))),
        (status = 304, description = "You have it already"),
        (status = 422, description = "The version is none", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = 503, description = "The version has not arrived yet", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get_product(
    State(app): State<App>,
    PathId(id): PathId,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listing = match wanted.min_version {
        None => app.listings.find(id).await?,
        Some(version) if version >= 1 => Some(wait(&app, id, version).await?),
        Some(_) => {
            let fault = FieldError::new("min_version", "invalid", "must be at least 1");
            return Err(Problem::invalid(vec![fault]));
        }
    };
    let (listing, product) = listing
        .and_then(|listing| listing.product().map(|product| (listing, product)))
        .filter(|(_, product)| product.is_listed())
        .ok_or_else(Problem::not_found)?;
    // The positions, too: a repair changes what is listed and keeps the versions.
    let (product_fence, stock_fence) = (listing.product_fence(), listing.stock_fence());
    let tag = format!(
        "\"v{}.{}-{}.{}\"",
        product_fence.version, stock_fence.version, product_fence.position, stock_fence.position
    );
    // A shared cache may keep it, and must ask each time whether it is still the one: a reader by
    // id is promised that it never goes backwards.
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

/// Looks again and again, with growing pauses, until the listing has come to `version`.
async fn wait(app: &App, id: Uuid, version: i64) -> Result<ListingItem, Problem> {
    let come_again = || NOT_YET_VISIBLE.because("").retry_after(1);
    let look = async || {
        let found = app.listings.find(id).await?;
        Ok::<_, Problem>(found.filter(|listing| listing.product_version >= version))
    };
    // Before a place is taken: who waits for what never comes must not keep others from what is
    // there.
    if let Some(listing) = look().await? {
        return Ok(listing);
    }
    let Ok(_place) = app.waiters.try_acquire() else {
        return Err(come_again());
    };
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    while Instant::now() + pause <= deadline {
        tokio::time::sleep(pause).await;
        if let Some(listing) = look().await? {
            return Ok(listing);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(come_again())
}
