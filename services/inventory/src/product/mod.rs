//! The rules of products: which are accepted, and how a command changes one. Time, ids and state
//! come in; products and refusals come out.

mod fields;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use shared::contract::envelope::MAX_DOCUMENT_BYTES;
use shared::contract::product::{Attribute, Attributes, ContentHash, Status};
use shared::contract::stock::Stock;
use shared::http::problem::FieldError;
use shared::http::{Faults, pointer_to};
use shared::id::{ProductId, SellerId};
use shared::money::{Currency, Money};

use crate::patch::Patch;
use crate::stock;
use fields::required;
use shared::expected::Expected;

pub(crate) use state::{Product, ProductRef};

/// A product as its seller describes it, not yet checked.
#[derive(Clone, Debug)]
pub(crate) struct NewProduct {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) category: String,
    /// `None` stands for `null`.
    pub(crate) attributes: BTreeMap<String, Option<Attribute>>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) on_hand: i64,
    pub(crate) status: Option<String>,
}

/// What a seller wants to change of a product, not yet checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeProduct {
    pub(crate) sku: Patch<String>,
    pub(crate) name: Patch<String>,
    pub(crate) description: Patch<String>,
    pub(crate) category: Patch<String>,
    /// `None` removes the attribute.
    pub(crate) attributes: Patch<BTreeMap<String, Option<Attribute>>>,
    pub(crate) price: Patch<ChangePrice>,
    pub(crate) status: Patch<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ChangePrice {
    pub(crate) amount: Patch<i64>,
    pub(crate) currency: Patch<String>,
}

/// The part of a product that its seller decides, checked.
#[derive(Clone, Debug, PartialEq)]
struct Details {
    sku: String,
    name: String,
    description: Option<String>,
    category: String,
    attributes: Attributes,
    price: Money,
    status: Status,
}

/// A product that may be created.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CreateProduct {
    details: Details,
    on_hand: i64,
}

impl CreateProduct {
    /// Checks a new product and returns every fault of it.
    pub(crate) fn check(new: NewProduct) -> Result<Self, Vec<FieldError>> {
        let NewProduct {
            sku,
            name,
            description,
            category,
            attributes: sent,
            amount,
            currency,
            on_hand,
            status,
        } = new;
        let mut faults = Faults::default();
        fields::check_sku(&mut faults, &sku);
        fields::check_name(&mut faults, &name);
        if let Some(description) = &description {
            fields::check_description(&mut faults, description);
        }
        fields::check_category(&mut faults, &category);
        let on_hand = faults.check("/stock/on_hand", stock::check_on_hand(on_hand));
        let amount = fields::check_amount(&mut faults, amount);
        let currency = fields::check_currency(&mut faults, &currency);
        let status = match status.as_deref() {
            None => Some(Status::Active),
            Some(text) => faults.check(
                "/status",
                Status::from_str(text)
                    .ok()
                    .filter(|status| *status != Status::Archived)
                    .ok_or("must be draft or active"),
            ),
        };
        let mut attributes = Attributes::new();
        for (key, value) in sent {
            if let Some(value) = value {
                fields::check_attribute(&mut faults, &key, &value);
                attributes.insert(key, value);
            } else {
                let pointer = pointer_to("attributes", &key);
                faults.add(&pointer, "must be a string, a number or a boolean");
            }
        }
        fields::check_attribute_count(&mut faults, &attributes);
        let (Some(on_hand), Some(amount), Some(currency), Some(status)) =
            (on_hand, amount, currency, status)
        else {
            return Err(faults.into_errors());
        };
        let price = Money { amount, currency };
        let details = Details { sku, name, description, category, attributes, price, status };
        faults.or(Self { details, on_hand })
    }
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The caller decided on another version than the current one.
    Stale { current: i64 },
    /// The product would have these faults.
    Invalid(Vec<FieldError>),
}

/// Creates a product with its first stock.
pub(crate) fn create(
    command: CreateProduct,
    seller_id: SellerId,
    id: ProductId,
    now: DateTime<Utc>,
) -> Result<(Product, Stock), Refusal> {
    let CreateProduct { details, on_hand } = command;
    let Details { sku, name, description, category, attributes, price, status } = details;
    let product = Product {
        id,
        seller_id,
        sku,
        name,
        description,
        category,
        attributes,
        price,
        status,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    check_size(&product)?;
    Ok((product.hashed(), stock::first(on_hand, now)))
}

/// Changes a product. Returns `None` if the patch changes nothing: then there is no new version.
pub(crate) fn change(
    product: &Product,
    patch: &ChangeProduct,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Option<Product>, Refusal> {
    check_version(product, expected)?;
    let ChangeProduct { sku, name, description, category, attributes, price, status } = patch;
    let mut faults = Faults::default();
    let mut changed = product.clone();
    if let Some(sku) = required(&mut faults, "/sku", sku) {
        fields::check_sku(&mut faults, sku);
        changed.sku.clone_from(sku);
    }
    if let Some(name) = required(&mut faults, "/name", name) {
        fields::check_name(&mut faults, name);
        changed.name.clone_from(name);
    }
    match description {
        Patch::Keep => {}
        Patch::Clear => changed.description = None,
        Patch::Set(text) => {
            fields::check_description(&mut faults, text);
            changed.description = Some(text.clone());
        }
    }
    if let Some(category) = required(&mut faults, "/category", category) {
        fields::check_category(&mut faults, category);
        changed.category.clone_from(category);
    }
    match attributes {
        Patch::Keep => {}
        Patch::Clear => changed.attributes.clear(),
        Patch::Set(changes) => change_attributes(&mut faults, &mut changed.attributes, changes),
    }
    if let Some(price) = required(&mut faults, "/price", price) {
        if let Some(amount) = required(&mut faults, "/price/amount", &price.amount)
            && let Some(amount) = fields::check_amount(&mut faults, *amount)
        {
            changed.price.amount = amount;
        }
        if let Some(currency) = required(&mut faults, "/price/currency", &price.currency)
            && let Some(currency) = fields::check_currency(&mut faults, currency)
        {
            changed.price.currency = currency;
        }
    }
    if let Some(status) = required(&mut faults, "/status", status)
        && let Some(status) = faults.check("/status", status.parse())
    {
        changed.status = status;
    }
    let changed = faults.or(changed).map_err(Refusal::Invalid)?;
    if changed == *product {
        return Ok(None);
    }
    check_size(&changed)?;
    Ok(Some(next_version(changed, now)))
}

fn change_attributes(
    faults: &mut Faults,
    attributes: &mut Attributes,
    changes: &BTreeMap<String, Option<Attribute>>,
) {
    for (key, value) in changes {
        if let Some(value) = value {
            fields::check_attribute(faults, key, value);
            attributes.insert(key.clone(), value.clone());
        } else {
            attributes.remove(key);
        }
    }
    fields::check_attribute_count(faults, attributes);
}

/// Deletes a product; it can be restored.
pub(crate) fn delete(
    product: &Product,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Product, Refusal> {
    check_version(product, expected)?;
    let deleted_at = Some(not_before(product, now));
    Ok(next_version(Product { deleted_at, ..product.clone() }, now))
}

/// Restores a deleted product. Returns `None` if it is not deleted.
pub(crate) fn restore(product: &Product, now: DateTime<Utc>) -> Option<Product> {
    product.deleted_at?;
    Some(next_version(Product { deleted_at: None, ..product.clone() }, now))
}

/// The same product at a version above `seen`, so that a listing at that version accepts it.
/// Returns `None` if the product is above it already.
pub(crate) fn raise(product: &Product, seen: i64, now: DateTime<Utc>) -> Option<Product> {
    (product.version <= seen).then(|| {
        let seen = Product { version: seen, ..product.clone() };
        next_version(seen, now)
    })
}

/// A deleted product that removes an orphaned listing: there is no such product, and the listing's
/// id and version are all that is known of it.
pub(crate) fn tombstone_for_orphan(id: ProductId, seen: i64, now: DateTime<Utc>) -> Product {
    Product {
        id,
        seller_id: SellerId::nil(),
        sku: String::new(),
        name: String::new(),
        description: None,
        category: String::new(),
        attributes: Attributes::new(),
        price: Money { amount: 0, currency: Currency::default() },
        status: Status::Archived,
        version: seen + 1,
        content_hash: ContentHash(String::new()),
        created_at: now,
        updated_at: now,
        deleted_at: Some(now),
    }
    .hashed()
}

/// The time of the version after `product`: a clock that was set back must not make it look older.
fn not_before(product: &Product, now: DateTime<Utc>) -> DateTime<Utc> {
    now.max(product.updated_at)
}

fn next_version(product: Product, now: DateTime<Utc>) -> Product {
    let updated_at = not_before(&product, now);
    Product { version: product.version + 1, updated_at, ..product }.hashed()
}

fn check_version(product: &Product, expected: &Expected) -> Result<(), Refusal> {
    if expected.accepts(product.version) {
        Ok(())
    } else {
        Err(Refusal::Stale { current: product.version })
    }
}

/// Bytes that the hash, the times and a growing version may add to a document after it was
/// measured: a product that could be created must not be too large to be changed.
const HEADROOM: usize = 512;

/// An upper bound of the bytes of a product's document with [`HEADROOM`]: a byte of text is written as six at
/// most.
fn upper_bound(product: &Product) -> usize {
    let description = product.description.as_ref().map_or(0, String::len);
    let mut texts = product.sku.len() + product.name.len() + product.category.len() + description;
    for (key, value) in &product.attributes {
        texts += key.len() + if let Attribute::Text(text) = value { text.len() } else { 0 };
    }
    // The constants cover field names, punctuation and numbers.
    6 * texts + 64 * product.attributes.len() + 1024 + HEADROOM
}

/// Every event must fit into what the bus takes.
fn check_size(product: &Product) -> Result<(), Refusal> {
    // The bound spares nearly every product the measurement.
    if upper_bound(product) <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let bare = ProductRef {
        version: 0,
        content_hash: "",
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        deleted_at: None,
        ..product.into()
    };
    let size = serde_json::to_vec(&bare).map_or(usize::MAX, |bytes| bytes.len() + HEADROOM);
    if size <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let detail = format!("the product would have {size} bytes; it may have {MAX_DOCUMENT_BYTES}");
    Err(Refusal::Invalid(vec![FieldError::new("", "too_large", detail)]))
}
