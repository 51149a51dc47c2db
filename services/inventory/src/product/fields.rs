//! What each field of a product may hold.

use shared::contract::envelope::MAX_DOCUMENT_BYTES;
use shared::contract::product::{Attribute, Attributes};
use shared::http::{Faults, pointer_to};
use shared::money::Currency;
use shared::text::{self, Lines};

use crate::patch::Patch;

/// The largest amount of a price, in minor units.
const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// The most attributes that a product may have.
const MAX_ATTRIBUTES: usize = 50;

pub(super) fn check_sku(faults: &mut Faults, sku: &str) {
    faults.check("/sku", text::check_visible(sku, 64));
}

pub(super) fn check_name(faults: &mut Faults, name: &str) {
    faults.check("/name", text::check(name, 200, Lines::One));
}

pub(super) fn check_description(faults: &mut Faults, description: &str) {
    faults.check("/description", text::check(description, 10_000, Lines::Many));
}

pub(super) fn check_category(faults: &mut Faults, category: &str) {
    let bytes = category.as_bytes();
    let slug = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = (1..=64).contains(&bytes.len())
        && slug(&bytes[0])
        && bytes.iter().all(|b| slug(b) || *b == b'-');
    if !good {
        faults.add(
            "/category",
            "must be a slug: 1 to 64 lower-case letters, digits and hyphens, not beginning with a \
             hyphen",
        );
    }
}

pub(super) fn check_amount(faults: &mut Faults, amount: i64) -> Option<i64> {
    let good = (0..=MAX_AMOUNT).contains(&amount);
    faults.check("/price/amount", if good { Ok(amount) } else { Err("must be 0 to 10^12") })
}

pub(super) fn check_currency(faults: &mut Faults, code: &str) -> Option<Currency> {
    faults.check("/price/currency", code.parse())
}

pub(super) fn check_attribute(faults: &mut Faults, key: &str, value: &Attribute) {
    let pointer = pointer_to("attributes", key);
    if let Err(fault) = text::check(key, 64, Lines::One) {
        faults.add(&pointer, format!("the key {fault}"));
    }
    if let Attribute::Text(value) = value {
        faults.check(&pointer, text::check(value, MAX_DOCUMENT_BYTES, Lines::Many));
    }
}

pub(super) fn check_attribute_count(faults: &mut Faults, attributes: &Attributes) {
    if attributes.len() > MAX_ATTRIBUTES {
        faults.add("/attributes", format!("must be at most {MAX_ATTRIBUTES}"));
    }
}

/// The new value of a field that every product has, if the patch sets one.
pub(super) fn required<'a, T>(
    faults: &mut Faults,
    pointer: &str,
    patch: &'a Patch<T>,
) -> Option<&'a T> {
    match patch {
        Patch::Keep => None,
        Patch::Set(value) => Some(value),
        Patch::Clear => {
            faults.add(pointer, "cannot be removed");
            None
        }
    }
}
