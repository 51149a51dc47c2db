//! THE RULES of products: what may be made of one, and what it becomes. Time, ids and state come
//! in; products and errors come out.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use shared::contract::events::{Event, MAX_DOCUMENT_BYTES};
use shared::contract::product::{Attribute, Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::http::problem::FieldError;
use shared::http::{Expected, escape_pointer};
use shared::money::{Currency, Money};
use uuid::Uuid;

use crate::attributes::SentAttributes;
use crate::sent::{Faults, SentPatch, SentProduct};
use crate::stock;

/// What of a product its seller decides, checked.
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
    /// Checks what was sent and says everything that is wrong with it.
    pub(crate) fn parse(sent: SentProduct) -> Result<Self, Vec<FieldError>> {
        let mut faults = Faults::default();
        faults.details(&sent);
        let on_hand = faults.keep("/stock/on_hand", stock::check_on_hand(sent.stock.on_hand));
        let price = faults.price(sent.price.amount, &sent.price.currency);
        let status = match sent.status.as_deref() {
            None => Some(Status::Active),
            Some(text) => faults.keep(
                "/status",
                Status::from_str(text)
                    .ok()
                    .filter(|status| *status != Status::Archived)
                    .ok_or("must be draft or active"),
            ),
        };
        let mut attributes = Attributes::new();
        for (key, value) in sent.attributes.0 {
            let pointer = format!("/attributes/{}", escape_pointer(&key));
            match value {
                Some(value) => {
                    faults.attribute(&pointer, &key, &value);
                    attributes.insert(key, value);
                }
                None => faults.add(&pointer, "must be a string, a number or a boolean"),
            }
        }
        faults.attribute_count(&attributes);
        match (price, status, on_hand) {
            (Some(price), Some(status), Some(on_hand)) if faults.0.is_empty() => Ok(Self {
                details: Details {
                    sku: sent.sku,
                    name: sent.name,
                    description: sent.description,
                    category: sent.category,
                    attributes,
                    price,
                    status,
                },
                on_hand,
            }),
            _ => Err(faults.0),
        }
    }
}

/// Why a command cannot be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The caller decided on another version than there is.
    Stale { current: i64 },
    /// What it would become is not acceptable.
    Invalid(Vec<FieldError>),
}

/// Creates a product with its first stock.
pub(crate) fn create(
    command: CreateProduct,
    seller_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(Product, Stock), Refusal> {
    let CreateProduct { details, on_hand } = command;
    let product = Product {
        id,
        seller_id,
        sku: details.sku,
        name: details.name,
        description: details.description,
        category: details.category,
        attributes: details.attributes,
        price: details.price,
        status: details.status,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    check_size(&product)?;
    Ok((product.hashed(), stock::first(on_hand, now)))
}

/// Changes a product. `None` if the patch changes nothing: then there is no new version.
pub(crate) fn change(
    product: &Product,
    patch: SentPatch,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Option<Product>, Refusal> {
    check_version(product, expected)?;
    let mut faults = Faults::default();
    let mut changed = product.clone();
    if let Some(sku) = patch.sku {
        changed.sku = faults.required("/sku", sku, &product.sku);
        faults.sku(&changed.sku);
    }
    if let Some(name) = patch.name {
        changed.name = faults.required("/name", name, &product.name);
        faults.name(&changed.name);
    }
    if let Some(description) = patch.description {
        if let Some(text) = &description {
            faults.description(text);
        }
        changed.description = description;
    }
    if let Some(category) = patch.category {
        changed.category = faults.required("/category", category, &product.category);
        faults.category(&changed.category);
    }
    match patch.attributes {
        None => {}
        Some(None) => changed.attributes.clear(),
        Some(Some(SentAttributes(sent))) => {
            for (key, value) in sent {
                match value {
                    None => {
                        changed.attributes.remove(&key);
                    }
                    Some(value) => {
                        let pointer = format!("/attributes/{}", escape_pointer(&key));
                        faults.attribute(&pointer, &key, &value);
                        changed.attributes.insert(key, value);
                    }
                }
            }
            faults.attribute_count(&changed.attributes);
        }
    }
    match patch.price {
        None => {}
        Some(None) => faults.add("/price", "cannot be removed"),
        Some(Some(price)) => {
            if let Some(amount) = price.amount {
                let amount = faults.required("/price/amount", amount, &product.price.amount);
                changed.price.amount = faults.amount(amount).unwrap_or_default();
            }
            if let Some(currency) = price.currency {
                let before = product.price.currency.code().to_owned();
                let code = faults.required("/price/currency", currency, &before);
                changed.price.currency = faults.currency(&code).unwrap_or(product.price.currency);
            }
        }
    }
    if let Some(status) = patch.status {
        let before = product.status.as_str().to_owned();
        let text = faults.required("/status", status, &before);
        changed.status = faults.keep("/status", text.parse()).unwrap_or(product.status);
    }
    if !faults.0.is_empty() {
        return Err(Refusal::Invalid(faults.0));
    }
    if changed == *product {
        return Ok(None);
    }
    check_size(&changed)?;
    Ok(Some(next_version(changed, now)))
}

/// Deletes a product; it can be restored.
pub(crate) fn delete(
    product: &Product,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Product, Refusal> {
    check_version(product, expected)?;
    Ok(next_version(Product { deleted_at: Some(now), ..product.clone() }, now))
}

/// Restores a deleted product. `None` if it is not deleted.
pub(crate) fn restore(product: &Product, now: DateTime<Utc>) -> Option<Product> {
    product.deleted_at?;
    Some(next_version(Product { deleted_at: None, ..product.clone() }, now))
}

/// The same product under a version above `seen`, so that listings which claim to be newer take it.
/// `None` if it has come above by itself.
pub(crate) fn raise(product: &Product, seen: i64, now: DateTime<Utc>) -> Option<Product> {
    (product.version <= seen).then(|| {
        let seen = Product { version: seen, ..product.clone() };
        next_version(seen, now)
    })
}

/// What takes a listing away that there is no product for. Nothing else is known of it, so it
/// belongs to nobody and says nothing.
pub(crate) fn never_was(id: Uuid, seen: i64, now: DateTime<Utc>) -> Product {
    Product {
        id,
        seller_id: Uuid::nil(),
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

/// The event that announces what a product has become.
pub(crate) fn announce(product: Product) -> Event {
    if product.deleted_at.is_some() {
        Event::ProductDeleted { product }
    } else {
        Event::ProductUpdated { product }
    }
}

fn next_version(product: Product, now: DateTime<Utc>) -> Product {
    // A clock that was set back must not make a later version look older.
    let updated_at = now.max(product.updated_at);
    Product { version: product.version + 1, updated_at, ..product }.hashed()
}

fn check_version(product: &Product, expected: &Expected) -> Result<(), Refusal> {
    if expected.accepts(product.version) {
        Ok(())
    } else {
        Err(Refusal::Stale { current: product.version })
    }
}

/// What the hash, the times and a growing version may add to a document after it was measured: a
/// product that could be created must not be too large to be changed.
const ROOM: usize = 512;

/// More bytes than the document of a product can have: a byte of text is written as six at most.
fn upper_bound(product: &Product) -> usize {
    let description = product.description.as_ref().map_or(0, String::len);
    let mut texts = product.sku.len() + product.name.len() + product.category.len() + description;
    for (key, value) in &product.attributes {
        texts += key.len() + if let Attribute::Text(text) = value { text.len() } else { 0 };
    }
    // What stands around the texts, and numbers with theirs.
    6 * texts + 64 * product.attributes.len() + 1024
}

/// Every event must fit into what the bus takes.
fn check_size(product: &Product) -> Result<(), Refusal> {
    // Hardly any needs to be measured.
    if upper_bound(product) + ROOM <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let bare = Product {
        version: 0,
        content_hash: ContentHash(String::new()),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        deleted_at: None,
        ..product.clone()
    };
    let size = serde_json::to_vec(&bare).map_or(usize::MAX, |bytes| bytes.len() + ROOM);
    if size <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let detail = format!("the product would have {size} bytes; it may have {MAX_DOCUMENT_BYTES}");
    Err(Refusal::Invalid(vec![FieldError::new("", "too_large", detail)]))
}

#[cfg(test)]
mod tests;
