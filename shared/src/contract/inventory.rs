//! The events of inventory.

use serde::{Deserialize, Serialize};

use super::product::Product;
use super::stock::Stock;

/// Where every event of the write side comes from.
pub const SOURCE: &str = "vitrina/inventory";

/// The major version of the schema of `data` that this build writes and reads. A field more is no new
/// one; another meaning is.
pub const SCHEMA_VERSION: i32 = 1;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// A product exists, with its first stock.
    ProductCreated { product: Product, stock: Stock },
    /// A product changed, or is back after a deletion.
    ProductUpdated { product: Product },
    /// A product is gone; `deleted_at` is set in it.
    ProductDeleted { product: Product },
    /// The stock of a product changed.
    StockChanged { stock: Stock },
}

impl Event {
    /// The `type` attribute of every event there is.
    pub const TYPES: [&str; 4] =
        ["ProductCreated", "ProductUpdated", "ProductDeleted", "StockChanged"];

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::ProductCreated { .. } => "ProductCreated",
            Self::ProductUpdated { .. } => "ProductUpdated",
            Self::ProductDeleted { .. } => "ProductDeleted",
            Self::StockChanged { .. } => "StockChanged",
        }
    }

    pub fn product(&self) -> Option<&Product> {
        match self {
            Self::ProductCreated { product, .. }
            | Self::ProductUpdated { product }
            | Self::ProductDeleted { product } => Some(product),
            Self::StockChanged { .. } => None,
        }
    }

    pub fn stock(&self) -> Option<&Stock> {
        match self {
            Self::ProductCreated { stock, .. } | Self::StockChanged { stock } => Some(stock),
            Self::ProductUpdated { .. } | Self::ProductDeleted { .. } => None,
        }
    }
}
