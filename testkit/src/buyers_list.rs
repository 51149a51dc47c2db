//! What a list of the catalogue must show: a plain filter and sort of all products that buyers see.

use std::cmp::Reverse;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::money::Currency;

/// A list as its query parameters request it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuyersList {
    pub category: Option<String>,
    pub seller: Option<String>,
    pub currency: Option<String>,
    pub price_min: Option<i64>,
    pub price_max: Option<i64>,
    pub in_stock: Option<bool>,
    pub sort: Option<String>,
}

impl BuyersList {
    /// The parameters by name. A list also has `limit` and `cursor`, which change no order.
    pub fn parameters(&self) -> [(&'static str, Option<String>); 7] {
        [
            ("category", self.category.clone()),
            ("seller", self.seller.clone()),
            ("currency", self.currency.clone()),
            ("price_min", self.price_min.map(|amount| amount.to_string())),
            ("price_max", self.price_max.map(|amount| amount.to_string())),
            ("in_stock", self.in_stock.map(|in_stock| in_stock.to_string())),
            ("sort", self.sort.clone()),
        ]
    }

    /// The parameters that an API description names for lists.
    pub fn described(document: &Value) -> Vec<Value> {
        let list = &document["paths"]["/v1/catalog/products"]["get"];
        list["parameters"].as_array().unwrap().clone()
    }

    /// The orders that an API description names.
    pub fn orders(document: &Value) -> Vec<String> {
        let parameters = Self::described(document);
        let sort = parameters.iter().find(|parameter| parameter["name"] == "sort").unwrap();
        let orders = sort["schema"]["enum"].as_array().unwrap().iter();
        orders.map(|order| text(order).to_owned()).collect()
    }

    /// The path of a page with at most `limit` products.
    pub fn path(&self, limit: usize) -> String {
        let mut path = format!("/v1/catalog/products?limit={limit}");
        for (name, value) in self.parameters() {
            if let Some(value) = value {
                let _ = write!(path, "&{name}={value}");
            }
        }
        path
    }

    /// The products that the list shows, in order. `products` are all that buyers see, as documents.
    ///
    /// # Panics
    /// If `sort` is an order that is not written down here.
    pub fn expected<'a>(&self, products: &'a [Value]) -> Vec<&'a Value> {
        let mut found: Vec<&Value> = products.iter().filter(|it| self.has(it)).collect();
        match self.sort.as_deref() {
            None | Some("-created_at") => {
                found.sort_by_key(|it| Reverse((time(&it["created_at"]), text(&it["id"]))));
            }
            Some("price") => found.sort_by_key(|it| (amount(it), text(&it["id"]))),
            Some("-price") => found.sort_by_key(|it| Reverse((amount(it), text(&it["id"])))),
            Some(other) => panic!("write down what the order {other} of a list means"),
        }
        found
    }

    fn has(&self, product: &Value) -> bool {
        let is = |wanted: &Option<String>, value: &Value| {
            wanted.as_ref().is_none_or(|wanted| text(value) == wanted)
        };
        let currency = self.currency.as_deref().unwrap_or(Currency::default().code());
        is(&self.category, &product["category"])
            && is(&self.seller, &product["seller_id"])
            && text(&product["price"]["currency"]) == currency
            && self.price_min.is_none_or(|min| min <= amount(product))
            && self.price_max.is_none_or(|max| amount(product) <= max)
            && self.in_stock.is_none_or(|wanted| product["in_stock"] == wanted)
    }

    /// Asserts that `cards`, those of all pages, are what the list shows: the same products in the same
    /// order, each with the values that it has in `products`.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn check(&self, products: &[Value], cards: &[Value], when: &str) {
        let expected = self.expected(products);
        let ids = |found: &[&Value]| -> Vec<String> {
            found.iter().map(|it| text(&it["id"]).to_owned()).collect()
        };
        let shown: Vec<&Value> = cards.iter().collect();
        assert_eq!(ids(&shown), ids(&expected), "{self:?} {when}");
        for (card, product) in cards.iter().zip(expected) {
            for (name, value) in card.as_object().unwrap() {
                assert_eq!(value, &product[name], "{name} of {} in {self:?} {when}", card["id"]);
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn amount(product: &Value) -> i64 {
    product["price"]["amount"].as_i64().unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    text(value).parse().unwrap()
}
