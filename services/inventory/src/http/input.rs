//! Request bodies of products and stock.

use serde::{Deserialize, Deserializer};
use shared::contract::product::describe_attributes;
use shared::http::object;

use super::attributes::{SentAttributes, describe_attribute_changes};
use crate::patch::Patch;
use crate::product::{ChangePrice, ChangeProduct, NewProduct};

/// A product to create.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewProduct)]
pub(crate) struct SentProduct {
    /// 1 to 64 visible characters; unique among your products that are not deleted.
    #[schema(min_length = 1, max_length = 64, example = "SHOE-42")]
    sku: String,
    #[schema(min_length = 1, max_length = 200, example = "Running shoe")]
    name: String,
    #[schema(max_length = 10_000)]
    description: Option<String>,
    /// A slug of 1 to 64 lower-case letters, digits and hyphens.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,63}$", example = "shoes")]
    category: String,
    /// At most 50 attributes, with keys of 1 to 64 characters.
    #[serde(default)]
    #[schema(schema_with = describe_attributes)]
    attributes: SentAttributes,
    #[serde(deserialize_with = "object")]
    price: SentPrice,
    #[serde(default, deserialize_with = "object")]
    stock: SentStock,
    /// `active` (the default) or `draft`.
    status: Option<String>,
}

/// A price.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPrice)]
pub(crate) struct SentPrice {
    /// In minor units, such as cents.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 12990)]
    amount: i64,
    /// An ISO 4217 code.
    #[schema(example = "BRL")]
    currency: String,
}

/// The pieces on hand of a product.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewStock)]
pub(crate) struct SentStock {
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 5)]
    pub(crate) on_hand: i64,
}

/// A merge patch (RFC 7396): an absent member keeps its value, `null` removes it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductPatch)]
pub(crate) struct SentPatch {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    sku: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    description: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    category: Patch<String>,
    #[serde(default)]
    #[schema(schema_with = describe_attribute_changes)]
    attributes: Patch<SentAttributes>,
    #[serde(default, deserialize_with = "patch_object")]
    #[schema(value_type = Option<SentPricePatch>)]
    price: Patch<SentPricePatch>,
    /// `draft`, `active` or `archived`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    status: Patch<String>,
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PricePatch)]
pub(crate) struct SentPricePatch {
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    amount: Patch<i64>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    currency: Patch<String>,
}

/// Reads a member whose value must be written as an object.
fn patch_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Patch<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent, bound(deserialize = "T: Deserialize<'de>"))]
    struct Written<T>(#[serde(deserialize_with = "object")] T);

    Ok(Patch::deserialize(deserializer)?.map(|Written(value)| value))
}

impl From<SentProduct> for NewProduct {
    fn from(sent: SentProduct) -> Self {
        let SentProduct {
            sku,
            name,
            description,
            category,
            attributes: SentAttributes(attributes),
            price: SentPrice { amount, currency },
            stock: SentStock { on_hand },
            status,
        } = sent;
        Self { sku, name, description, category, attributes, amount, currency, on_hand, status }
    }
}

impl From<SentPatch> for ChangeProduct {
    fn from(sent: SentPatch) -> Self {
        let SentPatch { sku, name, description, category, attributes, price, status } = sent;
        let attributes = attributes.map(|SentAttributes(attributes)| attributes);
        let price =
            price.map(|SentPricePatch { amount, currency }| ChangePrice { amount, currency });
        Self { sku, name, description, category, attributes, price, status }
    }
}
