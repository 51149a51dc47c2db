//! A product as the journal keeps it and an event carries it.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::id::{ProductId, SellerId};
use crate::money::Money;

/// The attributes of a product: flat, at most 50.
pub type Attributes = BTreeMap<String, Attribute>;

/// The value of an attribute.
///
/// A number has fewer than 16 significant digits and is below 10^15, so it is the same in JSON, in
/// PostgreSQL, in DynamoDB and as an IEEE 754 double; a whole one is always [`Attribute::Integer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Attribute {
    Flag(bool),
    Integer(i64),
    Decimal(f64),
    Text(String),
}

/// The OpenAPI schema of an attribute.
///
/// JSON has one number type: in a schema with separate variants for whole and other numbers, a
/// whole number would match both and be refused.
pub fn describe_attribute() -> Schema {
    let largest = 999_999_999_999_999_i64;
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Boolean, Type::Number, Type::String]))
        .description(Some("A number has at most 15 significant digits."))
        .minimum(Some(-largest))
        .maximum(Some(largest))
        .into()
}

/// The OpenAPI schema of the attributes of a product.
pub fn describe_attributes() -> Schema {
    ObjectBuilder::new().additional_properties(Some(describe_attribute())).into()
}

/// What a product is for, at present.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Only its seller sees it.
    Draft,
    /// In the catalogue.
    #[default]
    Active,
    /// Was in the catalogue; only its seller sees it.
    Archived,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Draft, Self::Active, Self::Archived];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }
}

/// Not a status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be draft, active or archived")]
pub struct UnknownStatus;

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// The first 128 bits of a SHA-256 over a product's canonical bytes, in lower-case hexadecimal.
#[derive(
    Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(transparent)]
#[schema(example = "9f86d081884c7d659a2feaa0c55ad015")]
pub struct ContentHash(pub String);

impl ContentHash {
    /// The hash over canonical bytes: see [`Product::compute_hash`].
    pub fn of(canonical: &[u8]) -> Self {
        let digest = Sha256::digest(canonical);
        let mut hex = String::with_capacity(32);
        for byte in &digest[..16] {
            hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Self(hex)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A product, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Product {
    pub id: ProductId,
    pub seller_id: SellerId,
    /// Unique among the seller's products that are not deleted.
    pub sku: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub category: String,
    #[serde(default)]
    pub attributes: Attributes,
    pub price: Money,
    pub status: Status,
    /// Grows by one with every change; what `ETag` and `If-Match` carry.
    pub version: i64,
    pub content_hash: ContentHash,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Product {
    /// Whether buyers see it.
    pub fn is_listed(&self) -> bool {
        self.status == Status::Active && self.deleted_at.is_none()
    }

    /// The hash over everything else in the product.
    ///
    /// The canonical bytes are the product's JSON with its fields in the order of this type, its
    /// attributes in the order of their keys, and an empty `content_hash`.
    pub fn compute_hash(&self) -> ContentHash {
        self.clone().hashed().content_hash
    }

    /// The same product with its computed hash.
    #[must_use]
    pub fn hashed(mut self) -> Self {
        self.content_hash.0.clear();
        // Serialising these types to memory cannot fail: they have string keys and finite numbers.
        self.content_hash = ContentHash::of(&serde_json::to_vec(&self).unwrap_or_default());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_has_one_name_in_text_and_json() {
        for (status, name) in
            [(Status::Draft, "draft"), (Status::Active, "active"), (Status::Archived, "archived")]
        {
            assert_eq!((status.as_str(), name.parse()), (name, Ok(status)));
            assert_eq!(serde_json::to_value(status).unwrap(), name);
        }
        assert_eq!("Draft".parse::<Status>(), Err(UnknownStatus));
        assert_eq!(Status::ALL.len(), 3);
    }

    /// The value comes from `sha256sum`.
    #[test]
    fn content_hash_is_the_first_half_of_sha_256() {
        let hash = ContentHash::of(b"vitrina");
        assert_eq!(hash.0, "15e1d7607fc7aaf0479c72d4f1660827");
        assert_eq!(format!("{hash:?}"), hash.0);
    }

    #[test]
    fn only_an_active_product_that_is_not_deleted_is_listed() {
        let product = Product {
            id: ProductId::from_u128(1),
            seller_id: SellerId::from_u128(2),
            sku: "A".to_owned(),
            name: "Shoe".to_owned(),
            description: None,
            category: "shoes".to_owned(),
            attributes: Attributes::new(),
            price: Money { amount: 1, currency: crate::money::Currency::default() },
            status: Status::Active,
            version: 1,
            content_hash: ContentHash(String::new()),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            deleted_at: None,
        };
        for status in Status::ALL {
            for deleted_at in [None, Some(DateTime::UNIX_EPOCH)] {
                let expected = status == Status::Active && deleted_at.is_none();
                let product = Product { status, deleted_at, ..product.clone() };
                assert_eq!(product.is_listed(), expected, "{status:?} {deleted_at:?}");
            }
        }
    }
}
