//! Random products that resemble those of a marketplace. The same seed and index yield the same
//! product, in any order.

use std::collections::BTreeMap;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use serde_json::Value;
use shared::money::{Currency, Money};

use super::words::{BRANDS, CATEGORIES, COLOURS, Category, PRAISE_SENTENCES};

/// One in this many products is sold out.
const SOLD_OUT_ONE_IN: u32 = 12;

/// A product as the API accepts it.
#[derive(Debug, Serialize)]
pub(crate) struct Product {
    pub(super) sku: String,
    pub(super) name: String,
    description: String,
    pub(super) category: &'static str,
    attributes: BTreeMap<&'static str, Value>,
    price: Money,
    stock: Stock,
}

#[derive(Debug, Serialize)]
struct Stock {
    on_hand: u32,
}

/// The product `index` of `seed`. `tag` makes its SKU unique to a run.
pub(crate) fn product(seed: u64, index: u64, currency: Currency, tag: &str) -> Product {
    // An odd multiplier separates the streams of neighbouring seeds and indices.
    let stream = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(stream);
    let category = &CATEGORIES[random.random_range(0..CATEGORIES.len())];
    let mut pick = |words: &[&'static str]| words.choose(&mut random).copied().unwrap_or_default();
    let (thing, material) = (pick(category.things), pick(category.materials));
    let (brand, colour, praise) = (pick(BRANDS), pick(COLOURS), pick(PRAISE_SENTENCES));
    let price = price(&mut random, category);
    let on_hand = if random.random_ratio(1, SOLD_OUT_ONE_IN) {
        0
    } else {
        // Most products have few items in stock, some have many.
        let most = *[5, 20, 60, 250].choose(&mut random).unwrap_or(&5);
        random.random_range(1..=most)
    };
    let mut attributes = BTreeMap::from([
        ("brand", Value::from(brand)),
        ("colour", Value::from(colour)),
        ("material", Value::from(material)),
        ("weight_g", Value::from(random.random_range(2..=400) * 10)),
        ("handmade", Value::from(random.random_ratio(1, 8))),
    ]);
    if let Some(sizes) = category.sizes {
        let size = sizes.choose(&mut random).copied().unwrap_or_default();
        attributes.insert("size", Value::from(size));
    }
    let first = material.chars().next().into_iter().flat_map(char::to_uppercase);
    let material_first: String = first.chain(material.chars().skip(1)).collect();
    Product {
        sku: format!("{}-{:06}-{tag}", category.code, index + 1),
        name: format!("{brand} {thing} in {colour} {material}"),
        description: format!(
            "{material_first} {} by {brand}. {praise}\n\n{} Colour: {colour}.",
            thing.to_lowercase(),
            category.sentence,
        ),
        category: category.slug,
        attributes,
        price: Money { amount: price, currency },
        stock: Stock { on_hand },
    }
}

/// The slug of a category, in turns.
pub(crate) fn category(nth: usize) -> &'static str {
    CATEGORIES[nth % CATEGORIES.len()].slug
}

/// A plausible retail price in minor units.
///
/// It is the same number in every currency: 12990 is plausible as 129.90 in a currency with
/// hundredths, and as 12,990 in one without.
fn price(random: &mut Xoshiro256PlusPlus, category: &Category) -> i64 {
    let (low, high) = category.price;
    // The smaller of two draws: cheap products are more common.
    let whole = random.random_range(low..=high).min(random.random_range(low..=high));
    let cents = *[90, 99, 0, 50].choose(random).unwrap_or(&90);
    whole * 100 + cents
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn json(seed: u64, index: u64) -> String {
        serde_json::to_string(&product(seed, index, Currency::default(), "run")).unwrap()
    }

    #[test]
    fn same_seed_makes_the_same_products() {
        for index in [0, 1, 99, 1_000_000] {
            assert_eq!(json(7, index), json(7, index));
        }
        assert_ne!(json(7, 0), json(8, 0));
        assert_ne!(json(7, 0), json(7, 1));
    }

    #[test]
    fn skus_are_unique_within_and_across_runs() {
        let skus = |tag: &'static str| {
            (0..1_000).map(move |index| product(1, index, Currency::default(), tag).sku)
        };
        let all: BTreeSet<String> = skus("run").chain(skus("other")).collect();
        assert_eq!(all.len(), 2_000);
    }

    #[test]
    fn every_product_is_valid() {
        for index in 0..2_000 {
            let json = json(1, index);
            assert_eq!(inventory::check(json.as_bytes()), Ok(()), "{json}");
        }
    }

    #[test]
    fn every_category_has_products_and_some_are_sold_out() {
        let products: Vec<Product> =
            (0..2_000).map(|index| product(1, index, Currency::default(), "run")).collect();
        let categories: BTreeSet<_> = products.iter().map(|one| one.category).collect();
        assert_eq!(categories.len(), CATEGORIES.len());
        let sold_out = products.iter().filter(|one| one.stock.on_hand == 0).count();
        assert!((50..400).contains(&sold_out), "{sold_out}");
    }
}
