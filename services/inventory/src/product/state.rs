//! A product as this service stores it, separate from its form in events and in the API.
//!
//! Every conversion names every field, so a new field does not compile until each side has decided
//! about it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::contract;
use shared::contract::product::{Attributes, ContentHash, Status};
use shared::id::{ProductId, SellerId};
use shared::money::Money;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) id: ProductId,
    pub(crate) seller_id: SellerId,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) category: String,
    pub(crate) attributes: Attributes,
    pub(crate) price: Money,
    pub(crate) status: Status,
    pub(crate) version: i64,
    pub(crate) content_hash: ContentHash,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
}

impl Product {
    /// The hash of what an event says of the product.
    pub(crate) fn compute_hash(&self) -> ContentHash {
        let canonical = ProductRef { content_hash: "", ..self.into() };
        // Serialising these types to memory cannot fail: string keys and finite numbers.
        ContentHash::of(&serde_json::to_vec(&canonical).unwrap_or_default())
    }

    /// The same product with the hash that belongs to it.
    #[must_use]
    pub(crate) fn hashed(mut self) -> Self {
        self.content_hash = self.compute_hash();
        self
    }
}

/// A product as its events carry it, borrowed. Its fields and their order are those of the
/// contract's [`Product`](contract::product::Product).
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ProductRef<'a> {
    pub(super) id: ProductId,
    pub(super) seller_id: SellerId,
    pub(super) sku: &'a str,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    pub(super) category: &'a str,
    pub(super) attributes: &'a Attributes,
    pub(super) price: Money,
    pub(super) status: Status,
    pub(super) version: i64,
    pub(super) content_hash: &'a str,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a Product> for ProductRef<'a> {
    fn from(product: &'a Product) -> Self {
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
            id: *id,
            seller_id: *seller_id,
            sku,
            name,
            description: description.as_deref(),
            category,
            attributes,
            price: *price,
            status: *status,
            version: *version,
            content_hash: &content_hash.0,
            created_at: *created_at,
            updated_at: *updated_at,
            deleted_at: *deleted_at,
        }
    }
}

/// A product as an event of the journal has it.
impl From<contract::product::Product> for Product {
    fn from(product: contract::product::Product) -> Self {
        let contract::product::Product {
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

/// The owned type of the contract, to compare with.
#[cfg(test)]
impl From<ProductRef<'_>> for contract::product::Product {
    fn from(product: ProductRef<'_>) -> Self {
        let ProductRef {
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
            sku: sku.to_owned(),
            name: name.to_owned(),
            description: description.map(ToOwned::to_owned),
            category: category.to_owned(),
            attributes: attributes.clone(),
            price,
            status,
            version,
            content_hash: ContentHash(content_hash.to_owned()),
            created_at,
            updated_at,
            deleted_at,
        }
    }
}
