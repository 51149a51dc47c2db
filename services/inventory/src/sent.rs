//! What sellers send, and what is wrong with it: every fault at once, each with its place.

use serde::{Deserialize, Deserializer};
use shared::contract::events::MAX_DOCUMENT_BYTES;
use shared::contract::product::{Attribute, Attributes, describe_attributes};
use shared::http::object;
use shared::http::problem::FieldError;
use shared::money::{Currency, Money};
use shared::text::{self, Lines};

use crate::attributes::{MAX_ATTRIBUTES, SentAttributes, describe_attribute_changes};
use crate::stock::SentStock;

/// The largest amount of a price, in minor units.
pub(crate) const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// A product as a seller sends it.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewProduct)]
pub(crate) struct SentProduct {
    /// 1 to 64 visible characters; unique among your products that are not deleted.
    #[schema(min_length = 1, max_length = 64, example = "SHOE-42")]
    pub(crate) sku: String,
    #[schema(min_length = 1, max_length = 200, example = "Running shoe")]
    pub(crate) name: String,
    #[schema(max_length = 10_000)]
    pub(crate) description: Option<String>,
    /// A slug.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,63}$", example = "shoes")]
    pub(crate) category: String,
    /// At most 50, keyed by 1 to 64 characters.
    #[serde(default)]
    #[schema(schema_with = describe_attributes)]
    pub(crate) attributes: SentAttributes,
    #[serde(deserialize_with = "object")]
    pub(crate) price: SentPrice,
    #[serde(default, deserialize_with = "object")]
    pub(crate) stock: SentStock,
    /// `active` (the default) or `draft`.
    pub(crate) status: Option<String>,
}

/// A price as it is sent.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPrice)]
pub(crate) struct SentPrice {
    /// Minor units.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 12990)]
    pub(crate) amount: i64,
    /// ISO 4217.
    #[schema(example = "BRL")]
    pub(crate) currency: String,
}

/// A change as a seller sends it: an RFC 7396 merge patch. What is absent stays; `null` removes.
#[expect(clippy::option_option, reason = "a merge patch tells absent, null and a value apart")]
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductPatch)]
pub(crate) struct SentPatch {
    #[serde(default, deserialize_with = "present")]
    pub(crate) sku: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) description: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) category: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(schema_with = describe_attribute_changes)]
    pub(crate) attributes: Option<Option<SentAttributes>>,
    #[serde(default, deserialize_with = "present_object")]
    pub(crate) price: Option<Option<SentPricePatch>>,
    /// `draft`, `active` or `archived`.
    #[serde(default, deserialize_with = "present")]
    pub(crate) status: Option<Option<String>>,
}

#[expect(clippy::option_option, reason = "a merge patch tells absent, null and a value apart")]
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PricePatch)]
pub(crate) struct SentPricePatch {
    #[serde(default, deserialize_with = "present")]
    pub(crate) amount: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) currency: Option<Option<String>>,
}

/// Tells `null` from absent.
#[expect(clippy::option_option, reason = "a merge patch has three cases: absent, null and a value")]
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The same of a value that must be written as an object.
#[expect(clippy::option_option, reason = "a merge patch tells absent, null and a value apart")]
fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent, bound(deserialize = "T: Deserialize<'de>"))]
    struct Written<T>(#[serde(deserialize_with = "object")] T);

    let written: Option<Written<T>> = Option::deserialize(deserializer)?;
    Ok(Some(written.map(|Written(value)| value)))
}

/// Collects what is wrong.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<FieldError>);

impl Faults {
    pub(crate) fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, "invalid", detail));
    }

    pub(crate) fn keep<T, E: ToString>(
        &mut self,
        pointer: &str,
        checked: Result<T, E>,
    ) -> Option<T> {
        checked.map_err(|error| self.add(pointer, error.to_string())).ok()
    }

    pub(crate) fn details(&mut self, sent: &SentProduct) {
        self.sku(&sent.sku);
        self.name(&sent.name);
        if let Some(description) = &sent.description {
            self.description(description);
        }
        self.category(&sent.category);
    }

    pub(crate) fn sku(&mut self, sku: &str) {
        self.keep("/sku", text::check_visible(sku, 64));
    }

    pub(crate) fn name(&mut self, name: &str) {
        self.keep("/name", text::check(name, 200, Lines::One));
    }

    pub(crate) fn description(&mut self, description: &str) {
        self.keep("/description", text::check(description, 10_000, Lines::Many));
    }

    pub(crate) fn category(&mut self, category: &str) {
        let bytes = category.as_bytes();
        let slug = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = (1..=64).contains(&bytes.len())
            && slug(&bytes[0])
            && bytes.iter().all(|b| slug(b) || *b == b'-');
        if !good {
            self.add(
                "/category",
                "must be a slug: 1 to 64 lower-case letters, digits and hyphens, not beginning \
                 with a hyphen",
            );
        }
    }

    pub(crate) fn price(&mut self, amount: i64, currency: &str) -> Option<Money> {
        let amount = self.amount(amount);
        let currency = self.currency(currency);
        Some(Money { amount: amount?, currency: currency? })
    }

    pub(crate) fn amount(&mut self, amount: i64) -> Option<i64> {
        let good = (0..=MAX_AMOUNT).contains(&amount);
        self.keep("/price/amount", if good { Ok(amount) } else { Err("must be 0 to 10^12") })
    }

    pub(crate) fn currency(&mut self, code: &str) -> Option<Currency> {
        self.keep("/price/currency", code.parse())
    }

    pub(crate) fn attribute(&mut self, pointer: &str, key: &str, value: &Attribute) {
        if let Err(fault) = text::check(key, 64, Lines::One) {
            self.add(pointer, format!("the key {fault}"));
        }
        if let Attribute::Text(value) = value {
            self.keep(pointer, text::check(value, MAX_DOCUMENT_BYTES, Lines::Many));
        }
    }

    pub(crate) fn attribute_count(&mut self, attributes: &Attributes) {
        if attributes.len() > MAX_ATTRIBUTES {
            self.add("/attributes", format!("must be at most {MAX_ATTRIBUTES}"));
        }
    }

    /// The value, or what it was together with a fault where the patch would remove it.
    pub(crate) fn required<T: Clone>(&mut self, pointer: &str, sent: Option<T>, before: &T) -> T {
        sent.unwrap_or_else(|| {
            self.add(pointer, "cannot be removed");
            before.clone()
        })
    }
}
