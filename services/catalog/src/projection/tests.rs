//! The law of the projection, tried on random histories.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use shared::contract::envelope::{Envelope, Event as _};
use shared::contract::inventory::Event;
use shared::contract::listing::ListingItem;
use shared::contract::product::{Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::host::intake::Delivery;
use shared::money::{Currency, Money};
use uuid::Uuid;

use super::project;

const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

/// What happens to a product, in order.
#[derive(Clone, Debug)]
enum Change {
    Rename(u8),
    Price(i64),
    Status(Status),
    Delete,
    Restore,
    Stock(i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u8>().prop_map(Change::Rename),
        (0_i64..100_000).prop_map(Change::Price),
        prop_oneof![Just(Status::Draft), Just(Status::Active), Just(Status::Archived)]
            .prop_map(Change::Status),
        Just(Change::Delete),
        Just(Change::Restore),
        (0_i64..3).prop_map(Change::Stock),
    ]
}

/// The events that a history leads to, and what they leave in the end.
fn history(changes: &[Change]) -> (Vec<Event>, Product, Stock) {
    let mut product = Product {
        id: ID,
        seller_id: Uuid::from_u128(7),
        sku: "A".to_owned(),
        name: "First".to_owned(),
        description: None,
        category: "shoes".to_owned(),
        attributes: Attributes::new(),
        price: Money { amount: 100, currency: Currency::default() },
        status: Status::Active,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
    }
    .hashed();
    let mut stock = Stock { on_hand: 1, held: 0, version: 1, updated_at: at(0) };
    let mut events = vec![Event::ProductCreated { product: product.clone(), stock: stock.clone() }];
    for (second, change) in (1..).zip(changes) {
        if let Change::Stock(on_hand) = change {
            stock.on_hand = *on_hand;
            stock.version += 1;
            events.push(Event::StockChanged { stock: stock.clone() });
            continue;
        }
        match change {
            Change::Rename(n) => product.name = format!("Name {n}"),
            Change::Price(amount) => product.price.amount = *amount,
            Change::Status(status) => product.status = *status,
            Change::Delete => product.deleted_at = Some(at(second)),
            Change::Restore => product.deleted_at = None,
            Change::Stock(_) => {}
        }
        product.version += 1;
        product.updated_at = at(second);
        product = product.hashed();
        events.push(if product.deleted_at.is_some() {
            Event::ProductDeleted { product: product.clone() }
        } else {
            Event::ProductUpdated { product: product.clone() }
        });
    }
    (events, product, stock)
}

fn delivery(event: &Event, position: i64) -> Delivery<Event> {
    let envelope = Envelope {
        specversion: "1.0".to_owned(),
        id: Uuid::from_u128(u128::from(position.unsigned_abs())),
        source: Event::SOURCE.to_owned(),
        subject: ID,
        time: at(position),
        schemaversion: 1,
        traceparent: None,
        requestid: Uuid::nil(),
        requestedtime: at(position),
        publishedtime: at(position),
        position,
        republished: false,
        event: event.clone(),
    };
    Delivery { envelope, received_at: at(position) }
}

/// Projects deliveries in batches of these sizes, over and over.
fn run(deliveries: &[Delivery<Event>], sizes: &[usize]) -> Option<ListingItem> {
    let mut listing: Option<ListingItem> = None;
    let (mut rest, mut sizes) = (deliveries, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).min(rest.len());
        let (batch, later) = rest.split_at(size);
        rest = later;
        let batch: Vec<&Delivery<Event>> = batch.iter().collect();
        if let Some(next) = project(listing.as_ref(), ID, &batch, at(0)) {
            if let Some(before) = &listing {
                assert!(before.product_fence() <= next.product_fence(), "it went backwards");
                assert!(before.stock_fence() <= next.stock_fence(), "its stock went backwards");
            }
            listing = Some(next);
        }
    }
    listing
}

/// How a change came is not part of what the listing says.
fn apart_from_its_way(listing: ListingItem) -> ListingItem {
    ListingItem { hops: Vec::new(), ..listing }
}

proptest! {
    #[test]
    fn any_shuffled_and_doubled_history_leads_to_the_same_listing(
        changes in prop::collection::vec(change(), 0..12),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        order in any::<u64>(),
        sizes in prop::collection::vec(1_usize..6, 1..6),
    ) {
        let (events, product, stock) = history(&changes);
        // Everything once, in order, and some of it published again under later positions.
        let mut deliveries: Vec<Delivery<Event>> =
            (1..).zip(&events).map(|(position, event)| delivery(event, position)).collect();
        let straight = run(&deliveries, &[1]).unwrap();
        for pick in &picks {
            let position = i64::try_from(deliveries.len() + 1).unwrap();
            deliveries.push(delivery(pick.get(&events), position));
        }
        for pick in &picks {
            deliveries.push(pick.get(&deliveries).clone());
        }
        let in_order = run(&deliveries, &[usize::MAX]).unwrap();
        shuffle(&mut deliveries, order);
        let shuffled = run(&deliveries, &sizes).unwrap();
        prop_assert_eq!(apart_from_its_way(shuffled.clone()), apart_from_its_way(in_order));

        // It is the product's last state, whatever was announced again meanwhile.
        prop_assert_eq!(shuffled.product(), straight.product());
        prop_assert_eq!(shuffled.product_version, product.version);
        prop_assert_eq!(shuffled.available(), stock.available());
        prop_assert_eq!(shuffled.product(), product.deleted_at.is_none().then(|| product.clone()));
        prop_assert_eq!(shuffled.all_key.is_some(), product.is_listed());
        prop_assert_eq!(shuffled.expires_at.is_some(), product.deleted_at.is_some());
    }
}

/// Fisher and Yates, with the generator of Knuth: the same order for the same number.
fn shuffle(deliveries: &mut [Delivery<Event>], mut state: u64) {
    for last in (1..deliveries.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let choice = usize::try_from(state >> 33).unwrap() % (last + 1);
        deliveries.swap(last, choice);
    }
}

#[test]
fn a_repair_heals_a_damaged_listing_of_the_same_version() {
    let (events, product, _) = history(&[]);
    let healthy = run(&[delivery(&events[0], 1)], &[1]).unwrap();
    let damaged = ListingItem { name: Some("Damaged".to_owned()), ..healthy };
    let again = delivery(&events[0], 2);
    let healed = project(Some(&damaged), ID, &[&again], at(0)).unwrap();
    assert_eq!(healed.product(), Some(product));
}

#[test]
fn an_event_that_says_nothing_new_leads_to_no_write() {
    let (events, ..) = history(&[Change::Rename(1), Change::Stock(2)]);
    let all: Vec<Delivery<Event>> =
        (1..).zip(&events).map(|(n, event)| delivery(event, n)).collect();
    let listing = run(&all, &[3]).unwrap();
    for delivery in &all {
        assert_eq!(project(Some(&listing), ID, &[delivery], at(0)), None);
    }
}

#[test]
fn stock_that_arrives_first_makes_a_listing_that_nobody_sees() {
    let (events, ..) = history(&[Change::Stock(2)]);
    let early = delivery(&events[1], 2);
    let listing = project(None, ID, &[&early], at(0)).unwrap();
    assert_eq!((listing.product(), listing.all_key.clone()), (None, None));
    let late = delivery(&events[0], 1);
    let whole = project(Some(&listing), ID, &[&late], at(0)).unwrap();
    assert_eq!(whole.available(), 2);
    assert!(whole.all_key.unwrap().ends_with("#i"));
}

#[test]
fn a_late_event_does_not_raise_the_dead() {
    let (events, ..) = history(&[Change::Rename(1), Change::Delete]);
    let listing = run(&[delivery(&events[2], 3)], &[1]).unwrap();
    assert!(listing.deleted_at.is_some());
    let late = delivery(&events[1], 2);
    assert_eq!(project(Some(&listing), ID, &[&late], at(0)), None);
}
