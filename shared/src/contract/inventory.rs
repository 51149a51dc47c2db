//! The events of inventory.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::envelope::{self, Envelope};
use super::product::Product;
use super::stock::Stock;

use crate::id::ProductId;

/// What happened to a product or its stock.
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

impl envelope::Event for Event {
    const SOURCE: &'static str = "vitrina/inventory";
    const SCHEMA_VERSION: i32 = 1;
    const TYPES: &'static [&'static str] =
        &["ProductCreated", "ProductUpdated", "ProductDeleted", "StockChanged"];

    fn type_name(&self) -> &'static str {
        match self {
            Self::ProductCreated { .. } => "ProductCreated",
            Self::ProductUpdated { .. } => "ProductUpdated",
            Self::ProductDeleted { .. } => "ProductDeleted",
            Self::StockChanged { .. } => "StockChanged",
        }
    }

    fn aggregate_id(&self) -> Option<Uuid> {
        self.product().map(|product| product.id.uuid())
    }

    fn versions(&self) -> impl Iterator<Item = i64> {
        let product = self.product().map(|product| product.version);
        product.into_iter().chain(self.stock().map(|stock| stock.version))
    }
}

impl Envelope<Event> {
    /// The product that the event is about.
    pub fn product_id(&self) -> ProductId {
        ProductId::from_uuid(self.subject)
    }
}

impl Event {
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
