//! Every list after every way in which a product appears in it, changes, and disappears from it.
//!
//! The orders and filters come from the API description, so a new one has to be written down in
//! [`BuyersList`].

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use shared::contract::inventory::Event;
use shared::contract::product::{Product, Status};
use shared::contract::stock::Stock;
use shared::id::SellerId;
use testkit::BuyersList;

use crate::list_products::pages;
use crate::{Catalogue, path, product, stock};

/// Numbers of products in a page.
const LIMITS: [usize; 3] = [1, 2, 100];

/// The lowest and the highest price, of which either may be absent. The amounts are those of products and
/// the ones next to them, because both bounds are inclusive.
const BOUNDS: [(Option<i64>, Option<i64>); 9] = [
    (None, None),
    (Some(300), None),
    (None, Some(300)),
    (Some(301), None),
    (None, Some(299)),
    (Some(300), Some(300)),
    (Some(100), Some(500)),
    (Some(500), Some(100)),
    (Some(0), Some(0)),
];

/// Name, category, seller, amount, currency, pieces and held pieces of the products between which the
/// changing product moves. No two columns have the same order; three products have the same amount, so that
/// the id decides.
type Row = (&'static str, &'static str, u128, i64, &'static str, i64, i64);

const OLDER: [Row; 3] = [
    ("Echo", "shoes", 3, 500, "BRL", 4, 0),
    ("Alfa", "hats", 1, 100, "EUR", 0, 0),
    ("Delta", "shoes", 1, 300, "BRL", 2, 2),
];

const NEWER: [Row; 3] = [
    ("Foxtrot", "shoes", 2, 300, "BRL", 1, 0),
    ("Golf", "hats", 1, 200, "BRL", 7, 3),
    ("Charlie", "shoes", 1, 900, "EUR", 1, 0),
];

const CHANGING: Row = ("Bravo", "shoes", 1, 300, "BRL", 3, 0);

/// A product and its stock as the last events have them.
#[derive(Clone)]
struct Offer {
    product: Product,
    stock: Stock,
}

/// The states of a product: its status, or deleted.
const STATES: [Option<Status>; 4] =
    [Some(Status::Draft), Some(Status::Active), Some(Status::Archived), None];

type Change = (&'static str, fn(&mut Offer));

const CHANGES: &[Change] = &[
    ("is the dearest", |it| it.product.price.amount = 700),
    ("is in another category", |it| "hats".clone_into(&mut it.product.category)),
    ("is sold out", |it| it.stock.on_hand = 0),
    ("is the cheapest", |it| it.product.price.amount = 50),
    ("is of another seller", |it| it.product.seller_id = SellerId::from_u128(2)),
    ("is in stock again", |it| it.stock.on_hand = 2),
    ("has another currency", |it| it.product.price.currency = "EUR".parse().unwrap()),
    ("has another name", |it| "Zulu".clone_into(&mut it.product.name)),
    ("is alone in its category", |it| "toys".clone_into(&mut it.product.category)),
    ("is held", |it| it.stock.held = it.stock.on_hand),
    ("costs nothing", |it| it.product.price.amount = 0),
    ("is alone with its seller", |it| it.product.seller_id = SellerId::from_u128(4)),
    ("is held in part", |it| (it.stock.on_hand, it.stock.held) = (5, 4)),
    ("has its first values", |it| {
        let (_, category, seller, amount, currency, on_hand, held) = CHANGING;
        category.clone_into(&mut it.product.category);
        it.product.seller_id = SellerId::from_u128(seller);
        it.product.price.amount = amount;
        it.product.price.currency = currency.parse().unwrap();
        (it.stock.on_hand, it.stock.held) = (on_hand, held);
    }),
];

impl Offer {
    fn state(&self) -> Option<Status> {
        self.product.deleted_at.is_none().then_some(self.product.status)
    }

    /// What lists show of it, if buyers see it.
    fn card(&self) -> Option<Value> {
        let Self { product, stock } = self;
        let is_seen = match self.state() {
            Some(Status::Active) => true,
            Some(Status::Draft | Status::Archived) | None => false,
        };
        is_seen.then(|| {
            json!({
                "id": product.id, "seller_id": product.seller_id, "name": product.name,
                "category": product.category, "price": product.price,
                "in_stock": stock.on_hand > stock.held, "version": product.version,
                "created_at": product.created_at,
            })
        })
    }
}

/// A catalogue, and what must be in it.
struct Shop {
    catalogue: Catalogue,
    offers: Vec<Offer>,
    orders: Vec<String>,
    /// The parts of lists that have had a product.
    categories: BTreeSet<String>,
    sellers: BTreeSet<SellerId>,
    /// Categories in which buyers have seen a product. Only reconciliation removes one.
    offered: BTreeSet<String>,
    /// The last event of each offer, which arrives again after its next one.
    last: Vec<(Event, i64)>,
    /// The place of the offer that was created or changed last.
    changed: usize,
    position: i64,
    steps: usize,
}

impl Shop {
    async fn new() -> Self {
        Self {
            catalogue: Catalogue::new().await,
            offers: Vec::new(),
            orders: BuyersList::orders(&document()),
            categories: BTreeSet::from(["none".to_owned()]),
            sellers: BTreeSet::new(),
            offered: BTreeSet::new(),
            last: Vec::new(),
            changed: 0,
            position: 0,
            steps: 0,
        }
    }

    /// Creates a product in a state. Returns its place among the offers.
    async fn create(&mut self, row: Row, status: Status) -> usize {
        let (name, category, seller, amount, currency, on_hand, held) = row;
        self.catalogue.clock.advance(Duration::from_secs(1));
        let now = self.catalogue.clock.now();
        let mut product = product(self.catalogue.ids.next(now), now);
        name.clone_into(&mut product.name);
        category.clone_into(&mut product.category);
        product.seller_id = SellerId::from_u128(seller);
        product.price.amount = amount;
        product.price.currency = currency.parse().unwrap();
        product.status = status;
        let product = product.hashed();
        let stock = Stock { held, ..stock(on_hand, 1, now) };
        self.position += 1;
        let created = Event::ProductCreated { product: product.clone(), stock: stock.clone() };
        self.catalogue.project(&[(created.clone(), product.id, self.position)]).await;
        self.last.push((created, self.position));
        self.offers.push(Offer { product, stock });
        self.changed = self.offers.len() - 1;
        self.changed
    }

    /// Changes an offer: new versions of its product and of its stock, in a state.
    async fn change(&mut self, nth: usize, state: Option<Status>, change: fn(&mut Offer)) {
        self.catalogue.clock.advance(Duration::from_secs(1));
        let now = self.catalogue.clock.now();
        self.changed = nth;
        let before = self.offers[nth].clone();
        let offer = &mut self.offers[nth];
        change(offer);
        offer.product.status = state.unwrap_or(offer.product.status);
        offer.product.deleted_at = state.is_none().then_some(now);
        let mut events = Vec::new();
        if offer.stock != before.stock {
            offer.stock.version += 1;
            offer.stock.updated_at = now;
            events.push(Event::StockChanged { stock: offer.stock.clone() });
        }
        if offer.product != before.product {
            offer.product.version += 1;
            offer.product.updated_at = now;
            offer.product = offer.product.clone().hashed();
            let product = offer.product.clone();
            events.push(match product.deleted_at {
                Some(_) => Event::ProductDeleted { product },
                None => Event::ProductUpdated { product },
            });
        }
        let id = offer.product.id;
        for event in events {
            self.position += 1;
            let late = std::mem::replace(&mut self.last[nth], (event.clone(), self.position));
            // The event before it arrives once more, after it.
            self.catalogue.project(&[(event, id, self.position)]).await;
            self.catalogue.project(&[(late.0, id, late.1)]).await;
        }
    }

    /// Checks every scope in every order and currency: everything, and the part between two prices that is
    /// in stock or sold out. Each step has other bounds and sizes of pages, so that every list meets all of
    /// them.
    async fn check(&mut self, step: &str) {
        let products: Vec<Value> = self.offers.iter().filter_map(Offer::card).collect();
        self.offered
            .extend(products.iter().map(|card| card["category"].as_str().unwrap().to_owned()));
        let offered = self.catalogue.get("/v1/catalog/categories").await.expect(200).json;
        let expected: Vec<Value> = self.offered.iter().map(|it| json!({"slug": it})).collect();
        assert_eq!(offered["data"], json!(expected), "categories when the product {step}");
        self.check_page(step).await;
        self.categories.extend(self.offers.iter().map(|it| it.product.category.clone()));
        self.sellers.extend(self.offers.iter().map(|it| it.product.seller_id));
        let categories = self.categories.iter().map(|category| BuyersList {
            category: Some(category.clone()),
            ..BuyersList::default()
        });
        let sellers = self
            .sellers
            .iter()
            .map(|seller| BuyersList { seller: Some(seller.to_string()), ..BuyersList::default() });
        let scopes = std::iter::once(BuyersList::default()).chain(categories).chain(sellers);
        let mut turn = self.steps;
        for scope in scopes {
            for order in &self.orders {
                for currency in ["BRL", "EUR"] {
                    // What is left out must mean the default.
                    let is_default = turn.is_multiple_of(2) && currency == "BRL";
                    let sort =
                        (!turn.is_multiple_of(2) || order != "-created_at").then(|| order.clone());
                    let currency = (!is_default).then(|| currency.to_owned());
                    let list = BuyersList { sort, currency, ..scope.clone() };
                    self.check_list(&list, 100, &products, step).await;
                    if turn.is_multiple_of(2) {
                        let turn = turn / 2;
                        let in_stock = Some(turn % 4 < 2);
                        let (price_min, price_max) = BOUNDS[turn % BOUNDS.len()];
                        let list = BuyersList { in_stock, price_min, price_max, ..list };
                        self.check_list(&list, LIMITS[turn % 3], &products, step).await;
                    }
                    turn += 1;
                }
            }
        }
        self.steps += 1;
    }

    /// Checks the page of the product that changed last.
    async fn check_page(&self, step: &str) {
        let offer = &self.offers[self.changed];
        let page = self.catalogue.get(&path(offer.product.id)).await;
        let Some(card) = offer.card() else {
            assert_eq!(page.status, 404, "page when the product {step}");
            return;
        };
        let page = page.expect(200).json;
        for (name, value) in card.as_object().unwrap() {
            assert_eq!(&page[name], value, "{name} of the page when the product {step}");
        }
        let available = (offer.stock.on_hand - offer.stock.held).max(0);
        assert_eq!(page["available"], json!(available), "when the product {step}");
    }

    async fn check_list(&self, list: &BuyersList, limit: usize, products: &[Value], step: &str) {
        let cards = pages(&self.catalogue, list, limit).await;
        list.check(products, &cards, &format!("when the product {step}, {limit} at once"));
    }
}

fn document() -> Value {
    serde_json::to_value(catalog::routes().into_openapi()).unwrap()
}

/// States in an order in which each follows each other one.
fn walk() -> Vec<Option<Status>> {
    let mut walk = Vec::new();
    for (nth, from) in STATES.iter().enumerate() {
        for to in &STATES[nth + 1..] {
            walk.extend([*from, *to]);
        }
    }
    walk.push(STATES[0]);
    walk
}

#[test]
fn every_parameter_of_lists_is_known_to_the_model() {
    let described = BuyersList::described(&document());
    let described: BTreeSet<&str> =
        described.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    let known = BuyersList::default().parameters().map(|(name, _)| name);
    let known: BTreeSet<&str> = known.into_iter().chain(["limit", "cursor"]).collect();
    assert_eq!(described, known, "write down in the model what a new parameter does");
    let orders = BuyersList::orders(&document());
    assert!(orders.len() > 2, "{orders:?}");
    for sort in orders {
        let _ = BuyersList { sort: Some(sort), ..BuyersList::default() }.expected(&[]);
    }
}

#[test]
fn walk_has_every_pair_of_states() {
    let walk = walk();
    let pairs: Vec<_> = walk.windows(2).map(|pair| (pair[0], pair[1])).collect();
    for from in STATES {
        for to in STATES.into_iter().filter(|to| *to != from) {
            assert!(pairs.contains(&(from, to)), "{from:?} {to:?}");
        }
    }
}

#[test]
fn no_two_fields_of_the_products_have_the_same_order() {
    let rows = [&OLDER[..], &[CHANGING], &NEWER].concat();
    let order = |key: fn(&Row) -> String| {
        let mut nths: Vec<usize> = (0..rows.len()).collect();
        nths.sort_by_key(|nth| key(&rows[*nth]));
        nths
    };
    let orders = [
        (0..rows.len()).collect(),
        order(|row| row.0.to_owned()),
        order(|row| row.1.to_owned()),
        order(|row| row.2.to_string()),
        order(|row| format!("{:04}", row.3)),
        order(|row| row.4.to_owned()),
        order(|row| (row.5 - row.6).to_string()),
    ];
    for (nth, one) in orders.iter().enumerate() {
        for other in &orders[nth + 1..] {
            assert_ne!(one, other);
            assert_ne!(*one, other.iter().rev().copied().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn every_list_is_right_after_every_change() {
    let mut shop = Shop::new().await;
    for row in OLDER {
        shop.create(row, Status::Active).await;
    }
    shop.check("does not exist").await;
    let changing = shop.create(CHANGING, Status::Draft).await;
    for row in NEWER {
        shop.create(row, Status::Active).await;
    }
    shop.check("was created as a draft").await;

    // Its state changes, and a value with it.
    for (nth, state) in walk().into_iter().skip(1).enumerate() {
        let (what, change) = CHANGES[nth % CHANGES.len()];
        shop.change(changing, state, change).await;
        shop.check(&format!("becomes {state:?} and {what}")).await;
    }
    // Its values change while buyers see it.
    shop.change(changing, Some(Status::Active), CHANGES[CHANGES.len() - 1].1).await;
    shop.check("is as at first").await;
    for (what, change) in CHANGES {
        shop.change(changing, Some(Status::Active), *change).await;
        shop.check(what).await;
    }
    for status in STATES.into_iter().flatten() {
        // Each in a category of its own.
        let (name, _, seller, amount, currency, on_hand, held) = CHANGING;
        let copy = (name, status.as_str(), seller, amount, currency, on_hand, held);
        shop.create(copy, status).await;
        shop.check(&format!("has a copy that was created as {status:?}")).await;
    }
    // A cached page answers only the request that it was made for.
    shop.catalogue.router = shop.catalogue.caching_pages(Duration::from_hours(1));
    for what in ["is not cached yet", "is cached"] {
        shop.check(what).await;
        shop.steps -= 1;
    }
    let needed = 2 * LIMITS.len().max(BOUNDS.len());
    assert!(shop.steps >= needed, "{} steps do not meet all bounds and pages", shop.steps);
}
