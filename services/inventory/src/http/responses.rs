//! Response bodies that several endpoints share.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::contract::product::{Attributes, ContentHash, Status, describe_attributes};
use shared::contract::stock::Stock;
use shared::http::etag;
use shared::id::{ProductId, SellerId};
use shared::money::Money;
use utoipa::ToSchema;

use crate::product::Product;

/// A product.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Product)]
pub struct ProductView {
    #[schema(value_type = Uuid)]
    pub id: ProductId,
    #[schema(value_type = Uuid)]
    pub seller_id: SellerId,
    /// Unique among the seller's products that are not deleted.
    pub sku: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    pub category: String,
    #[schema(schema_with = describe_attributes, required = false)]
    pub attributes: Attributes,
    pub price: Money,
    pub status: Status,
    /// Grows by one with every change; the version in `ETag` and `If-Match`.
    pub version: i64,
    pub content_hash: ContentHash,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Names every field: a new field of the state stays private until it is given to clients here.
impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let Product {
            id,
            seller_id,
            sku,
            name,
            description,
            category,
            attributes,
            price,
            status,
            version,
            content_hash,
            created_at,
            updated_at,
            deleted_at,
        } = product;
        Self {
            id,
            seller_id,
            sku,
            name,
            description,
            category,
            attributes,
            price,
            status,
            version,
            content_hash,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

/// The stock of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stock)]
pub(crate) struct StockView {
    /// Pieces on hand.
    on_hand: i64,
    /// Pieces on hand that buyers hold.
    held: i64,
    /// Pieces that can still be bought.
    available: i64,
    /// The version of the stock; it is independent of the product's version.
    version: i64,
}

/// A product with the `ETag` of its version.
pub(super) fn product_response(product: Product) -> Response {
    let tag = etag(product.version);
    ([(header::ETAG, tag)], axum::Json(ProductView::from(product))).into_response()
}

/// Stock with the `ETag` of its version.
pub(super) fn stock_response(stock: &Stock) -> Response {
    let view = StockView {
        on_hand: stock.on_hand,
        held: stock.held,
        available: stock.available(),
        version: stock.version,
    };
    ([(header::ETAG, etag(stock.version))], axum::Json(view)).into_response()
}
