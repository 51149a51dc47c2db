//! A listing as DynamoDB stores it: the projector writes it, the catalogue reads it, and
//! reconciliation compares it.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::product::{Attributes, ContentHash, Product, Status};
use super::stock::Stock;
use super::sync_feed::{BUCKETS, bucket_of};
use crate::config::Settings;
use crate::dynamodb::Item;
use crate::id::{EventId, ProductId, SellerId};
use crate::money::{Currency, Money};

/// How long a tombstone is kept. An event can still arrive 28 days after it was sent
/// ([`DEAD_LETTER_KEPT`](crate::bus::message::DEAD_LETTER_KEPT)); without the tombstone it would
/// recreate the listing.
pub const TOMBSTONE_KEPT: TimeDelta = TimeDelta::days(35);

/// Reads `VITRINA_LISTINGS_TABLE`. A function requires it; elsewhere it defaults to `listings`.
pub fn table_name(settings: &mut Settings) -> String {
    const NAME: &str = "VITRINA_LISTINGS_TABLE";
    if settings.is_function() {
        return settings.required::<TableName>(NAME).0;
    }
    settings.or(NAME, TableName("listings".to_owned())).0
}

/// The name of a table.
#[derive(Default)]
struct TableName(String);

impl FromStr for TableName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if (3..=255).contains(&text.len()) && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be 3 to 255 letters, digits, _, - or .")
        }
    }
}

/// The key of the item whose set `categories` holds the categories in use. Its partition comes after
/// the last bucket.
pub fn categories_key() -> Item {
    key("categories".to_owned(), &BUCKETS.to_string())
}

/// The key of a product's listing.
pub fn key_of(id: ProductId) -> Item {
    key(id.to_string(), &bucket_of(id).to_string())
}

fn key(id: String, bucket: &str) -> Item {
    Item::from([
        ("bucket".to_owned(), AttributeValue::N(bucket.to_owned())),
        ("id".to_owned(), AttributeValue::S(id)),
    ])
}

/// Number of recent hops that a listing keeps.
pub const HOPS_KEPT: usize = 4;

/// The version and position of the last event applied to a part of a listing.
///
/// An event applies if its fence is greater: the version decides, the position (which grows with
/// every publish) breaks the tie. So a repair heals a damaged listing of the same version, while a
/// duplicate and a late original are refused: see [`Fence::passes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    pub version: i64,
    pub position: i64,
}

/// The largest plausible lead. A version grows by one with each change, so a larger lead is damage.
const MAX_LEAD: i64 = 1 << 32;

/// Whether the version `seen` in a listing is damage, given the true version `truth`. A version that
/// damage has made huge could never be exceeded, so it must not count.
pub fn is_damage(seen: i64, truth: i64) -> bool {
    seen > truth.saturating_add(MAX_LEAD)
}

impl Fence {
    /// Whether an event with this fence is newer than `seen`, the fence of a listing. If that version
    /// is damage, the position alone decides.
    pub fn passes(self, seen: Self) -> bool {
        if is_damage(seen.version, self.version) {
            self.position > seen.position || is_damage(seen.position, self.position)
        } else {
            self > seen
        }
    }
}

/// One item of the table `listings`.
///
/// The attributes are flat so that an index can include a few of them. Events may arrive in any order,
/// so an item may have only seen stock (its `product_version` is 0) or only the product (its
/// `stock_version` is 0). Buyers see it, and an index has it, once it has both. One with `deleted_at`
/// is a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListingItem {
    pub bucket: u16,
    pub id: ProductId,

    pub product_version: i64,
    pub product_position: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<ContentHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller_id: Option<SellerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,

    pub stock_version: i64,
    pub stock_position: i64,
    pub on_hand: i64,
    pub held: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock_updated_at: Option<DateTime<Utc>>,

    /// Partition keys of the indexes; absent unless buyers see the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller_key: Option<String>,
    /// Sort key of the indexes by price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_key: Option<String>,

    /// The last changes that reached this listing, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// When DynamoDB may delete a tombstone, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// One change on its way to the listing. The names are short because every listing stores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The event's id.
    #[serde(rename = "e")]
    pub event_id: EventId,
    /// The event's position in the outbox.
    #[serde(rename = "n")]
    pub position: i64,
    /// Microseconds since the Unix epoch, as are the next two.
    #[serde(rename = "p")]
    pub published: i64,
    #[serde(rename = "r")]
    pub received: i64,
    #[serde(rename = "w")]
    pub projected: i64,
}

/// Whether a product can be bought. Part of the partition keys of the indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    InStock,
    OutOfStock,
}

impl Availability {
    pub const BOTH: [Self; 2] = [Self::InStock, Self::OutOfStock];

    pub fn letter(self) -> char {
        match self {
            Self::InStock => 'i',
            Self::OutOfStock => 'o',
        }
    }
}

/// Partition key of the indexes over all listings.
pub fn all_key(currency: Currency, availability: Availability) -> String {
    format!("{currency}#{}", availability.letter())
}

/// Partition key of the indexes over one category or one seller.
pub fn scoped_key(scope: &str, currency: Currency, availability: Availability) -> String {
    format!("{scope}#{currency}#{}", availability.letter())
}

/// Sort key of the indexes by price: padded, so that text order is the order of the amounts.
pub fn price_key(amount: i64, id: ProductId) -> String {
    format!("{amount:013}#{id}")
}

impl ListingItem {
    /// A listing to which no event was applied yet.
    pub fn empty(id: ProductId) -> Self {
        Self { bucket: bucket_of(id), id, ..Self::default() }
    }

    pub fn product_fence(&self) -> Fence {
        Fence { version: self.product_version, position: self.product_position }
    }

    pub fn stock_fence(&self) -> Fence {
        Fence { version: self.stock_version, position: self.stock_position }
    }

    /// Whether an event with stock has arrived. Until then, how many pieces there are is unknown, so
    /// the product must not be shown as sold out.
    pub fn has_stock(&self) -> bool {
        self.stock_version > 0
    }

    pub fn available(&self) -> i64 {
        self.on_hand - self.held
    }

    pub fn availability(&self) -> Availability {
        if self.available() > 0 { Availability::InStock } else { Availability::OutOfStock }
    }

    /// The product as stored. None for a tombstone, for a listing that has only seen stock, and for
    /// one in which a required attribute is missing.
    pub fn product(&self) -> Option<Product> {
        if self.deleted_at.is_some() {
            return None;
        }
        Some(Product {
            id: self.id,
            seller_id: self.seller_id?,
            sku: self.sku.clone()?,
            name: self.name.clone()?,
            description: self.description.clone(),
            category: self.category.clone()?,
            attributes: self.attributes.clone(),
            price: Money { amount: self.amount?, currency: self.currency? },
            status: self.status?,
            version: self.product_version,
            content_hash: self.content_hash.clone()?,
            created_at: self.created_at?,
            updated_at: self.updated_at?,
            deleted_at: None,
        })
    }

    /// Replaces the product part.
    pub fn set_product(&mut self, product: &Product, position: i64) {
        let gone = product.deleted_at.is_some();
        let kept = |text: &String| (!gone).then(|| text.clone());
        self.product_version = product.version;
        self.product_position = position;
        self.content_hash = Some(product.content_hash.clone());
        self.deleted_at = product.deleted_at;
        self.seller_id = (!gone).then_some(product.seller_id);
        self.sku = kept(&product.sku);
        self.name = kept(&product.name);
        self.description = product.description.as_ref().and_then(kept);
        self.category = kept(&product.category);
        self.attributes = if gone { Attributes::new() } else { product.attributes.clone() };
        self.amount = (!gone).then_some(product.price.amount);
        self.currency = (!gone).then_some(product.price.currency);
        self.status = (!gone).then_some(product.status);
        self.created_at = (!gone).then_some(product.created_at);
        self.updated_at = (!gone).then_some(product.updated_at);
    }

    /// Replaces the stock part.
    pub fn set_stock(&mut self, stock: &Stock, position: i64) {
        self.stock_version = stock.version;
        self.stock_position = position;
        self.on_hand = stock.on_hand;
        self.held = stock.held;
        self.stock_updated_at = Some(stock.updated_at);
    }

    /// Sets the index keys from the other attributes.
    pub fn set_index_keys(&mut self) {
        let keys = self.index_keys().map_or([const { None }; 4], |keys| keys.map(Some));
        [self.all_key, self.category_key, self.seller_key, self.price_key] = keys;
    }

    /// The index keys, if [`Self::product`] is present and listed, and its stock has arrived.
    fn index_keys(&self) -> Option<[String; 4]> {
        let is_whole = self.sku.is_some()
            && self.name.is_some()
            && self.content_hash.is_some()
            && self.created_at.is_some()
            && self.updated_at.is_some()
            && self.has_stock();
        if !is_whole || self.deleted_at.is_some() || self.status != Some(Status::Active) {
            return None;
        }
        let (currency, availability) = (self.currency?, self.availability());
        let seller = self.seller_id?.to_string();
        Some([
            all_key(currency, availability),
            scoped_key(self.category.as_deref()?, currency, availability),
            scoped_key(&seller, currency, availability),
            price_key(self.amount?, self.id),
        ])
    }
}
