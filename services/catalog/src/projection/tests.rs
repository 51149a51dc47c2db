//! The law of the projection, checked on random histories.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use shared::contract::envelope::{Envelope, Event as _};
use shared::contract::inventory::Event;
use shared::contract::listing::ListingItem;
use shared::contract::product::{Attribute, Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::id::{EventId, ProductId, RequestId, SellerId};
use shared::money::{Currency, Money};

use super::{Arrival, Projected, project};

const ID: ProductId = ProductId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

/// One change to a product.
#[derive(Clone, Debug)]
enum Change {
    Rename(u8),
    /// `None` removes it, here and below.
    Describe(Option<u8>),
    Resize(Option<u8>),
    Move(u8),
    Price(i64),
    Status(Status),
    Delete,
    Restore,
    Stock(i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u8>().prop_map(Change::Rename),
        any::<Option<u8>>().prop_map(Change::Describe),
        any::<Option<u8>>().prop_map(Change::Resize),
        any::<u8>().prop_map(Change::Move),
        (0_i64..100_000).prop_map(Change::Price),
        prop_oneof![Just(Status::Draft), Just(Status::Active), Just(Status::Archived)]
            .prop_map(Change::Status),
        Just(Change::Delete),
        Just(Change::Restore),
        (0_i64..3).prop_map(Change::Stock),
    ]
}

/// The events of a history, and the state of the product and its stock at the end.
fn history(changes: &[Change]) -> (Vec<Event>, Product, Stock) {
    let mut product = Product {
        id: ID,
        seller_id: SellerId::from_u128(7),
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
            Change::Describe(n) => product.description = n.map(|n| format!("Size {n}")),
            Change::Resize(size) => {
                let size = size.map(|n| ("size".to_owned(), Attribute::Integer(n.into())));
                product.attributes = size.into_iter().collect();
            }
            Change::Move(n) => product.category = format!("category-{n}"),
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

fn envelope(event: &Event, position: i64) -> Envelope<Event> {
    Envelope {
        specversion: "1.0".to_owned(),
        id: EventId::from_u128(u128::from(position.unsigned_abs())),
        source: Event::SOURCE.to_owned(),
        subject: ID.uuid(),
        time: at(position),
        schemaversion: 1,
        traceparent: None,
        requestid: RequestId::nil(),
        requestedtime: at(position),
        publishedtime: at(position),
        position,
        republished: false,
        event: event.clone(),
    }
}

fn arrival(envelope: &Envelope<Event>) -> Arrival<'_> {
    Arrival { envelope, received_at: at(envelope.position) }
}

/// Folds one event into a listing.
fn fold(stored: Option<&ListingItem>, envelope: &Envelope<Event>) -> Option<ListingItem> {
    project(stored, ID, &[arrival(envelope)], at(0)).map(|projected| projected.listing)
}

/// Projects events in batches, cycling through these sizes.
fn run(events: &[Envelope<Event>], sizes: &[usize]) -> Option<ListingItem> {
    let mut listing: Option<ListingItem> = None;
    let (mut rest, mut sizes) = (events, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).min(rest.len());
        let (batch, later) = rest.split_at(size);
        rest = later;
        let batch: Vec<Arrival<'_>> = batch.iter().map(arrival).collect();
        if let Some(Projected { listing: next, .. }) = project(listing.as_ref(), ID, &batch, at(0))
        {
            if let Some(before) = &listing {
                assert!(
                    before.product_fence() <= next.product_fence(),
                    "the product went backwards"
                );
                assert!(before.stock_fence() <= next.stock_fence(), "the stock went backwards");
            }
            // What is listed is known, whatever has arrived so far.
            let is_known = next.product_version > 0 && next.stock_version > 0;
            assert!(next.all_key.is_none() || is_known, "listed too early: {next:?}");
            listing = Some(next);
        }
    }
    listing
}

/// The hops of a listing record how changes arrived, so they depend on the order of arrival.
fn without_hops(listing: ListingItem) -> ListingItem {
    ListingItem { hops: Vec::new(), ..listing }
}

proptest! {
    #[test]
    fn shuffled_and_duplicated_history_leads_to_one_listing(
        changes in prop::collection::vec(change(), 0..12),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        order in any::<u64>(),
        sizes in prop::collection::vec(1_usize..6, 1..6),
    ) {
        let (events, product, stock) = history(&changes);
        // Everything once, in order, and some of it republished under later positions.
        let mut arriving: Vec<Envelope<Event>> =
            (1..).zip(&events).map(|(position, event)| envelope(event, position)).collect();
        let straight = run(&arriving, &[1]).unwrap();
        for pick in &picks {
            let position = i64::try_from(arriving.len() + 1).unwrap();
            arriving.push(envelope(pick.get(&events), position));
        }
        for pick in &picks {
            arriving.push(pick.get(&arriving).clone());
        }
        let in_order = run(&arriving, &[usize::MAX]).unwrap();
        shuffle(&mut arriving, order);
        let shuffled = run(&arriving, &sizes).unwrap();
        prop_assert_eq!(without_hops(shuffled.clone()), without_hops(in_order));

        // It is the last state of the product, whatever was republished in between.
        prop_assert_eq!(shuffled.product(), straight.product());
        prop_assert_eq!(shuffled.product_version, product.version);
        prop_assert_eq!(shuffled.available(), stock.available());
        prop_assert_eq!(shuffled.product(), product.deleted_at.is_none().then(|| product.clone()));
        prop_assert_eq!(shuffled.all_key.is_some(), product.is_listed());
        let expires = product.deleted_at.map(|at| (at + TimeDelta::days(35)).timestamp());
        prop_assert_eq!(shuffled.expires_at, expires);
        // A tombstone has nothing of the product.
        let described = product.description.filter(|_| product.deleted_at.is_none());
        prop_assert_eq!(shuffled.description, described);
    }
}

/// Fisher-Yates with Knuth's generator: the same order for the same seed.
fn shuffle(events: &mut [Envelope<Event>], mut state: u64) {
    for last in (1..events.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let choice = usize::try_from(state >> 33).unwrap() % (last + 1);
        events.swap(last, choice);
    }
}

#[test]
fn repair_heals_a_damaged_listing_of_the_same_version() {
    let (events, product, _) = history(&[]);
    let healthy = run(&[envelope(&events[0], 1)], &[1]).unwrap();
    let damaged = ListingItem { name: Some("Damaged".to_owned()), ..healthy };
    let again = envelope(&events[0], 2);
    let healed = fold(Some(&damaged), &again).unwrap();
    assert_eq!(healed.product(), Some(product));
}

#[test]
fn old_event_causes_no_write() {
    let (events, ..) = history(&[Change::Rename(1), Change::Stock(2)]);
    let all: Vec<Envelope<Event>> =
        (1..).zip(&events).map(|(n, event)| envelope(event, n)).collect();
    let listing = run(&all, &[3]).unwrap();
    for old in &all {
        assert_eq!(fold(Some(&listing), old), None);
    }
}

#[test]
fn stock_that_arrives_first_makes_an_invisible_listing() {
    let (events, ..) = history(&[Change::Stock(2)]);
    let early = envelope(&events[1], 2);
    let listing = fold(None, &early).unwrap();
    assert_eq!((listing.product(), listing.all_key.clone()), (None, None));
    let late = envelope(&events[0], 1);
    let whole = fold(Some(&listing), &late).unwrap();
    assert_eq!(whole.available(), 2);
    assert!(whole.all_key.unwrap().ends_with("#i"));
}

#[test]
fn change_before_the_creation_makes_an_invisible_listing() {
    let (events, product, _) = history(&[Change::Rename(1)]);
    let early = fold(None, &envelope(&events[1], 2)).unwrap();
    assert_eq!((early.product(), early.has_stock()), (Some(product.clone()), false));
    let keys = [&early.all_key, &early.category_key, &early.seller_key, &early.price_key];
    assert_eq!(keys, [&None; 4]);
    let whole = fold(Some(&early), &envelope(&events[0], 1)).unwrap();
    assert_eq!((whole.product(), whole.available()), (Some(product), 1));
    assert!(whole.all_key.unwrap().ends_with("#i"));
}

#[test]
fn late_event_does_not_revive_a_tombstone() {
    let (events, ..) = history(&[Change::Rename(1), Change::Delete]);
    let listing = run(&[envelope(&events[2], 3)], &[1]).unwrap();
    assert!(listing.deleted_at.is_some());
    let late = envelope(&events[1], 2);
    assert_eq!(fold(Some(&listing), &late), None);
}

#[test]
fn listing_keeps_its_latest_hops_in_order() {
    let changes = [1, 2, 3, 4, 5].map(Change::Rename);
    let (events, ..) = history(&[&changes[..], &[Change::Stock(4), Change::Stock(5)]].concat());
    let all: Vec<Envelope<Event>> =
        (1..).zip(&events).map(|(n, event)| envelope(event, n)).collect();
    for count in 1..=all.len() {
        for size in 1..=count {
            let listing = run(&all[..count], &[size]).unwrap();
            let found: Vec<i64> = listing.hops.iter().map(|hop| hop.position).collect();
            let last = i64::try_from(count).unwrap();
            let expected: Vec<i64> = ((last - 3).max(1)..=last).collect();
            assert_eq!(found, expected, "{count} events, {size} at once");
        }
    }
}

#[test]
fn each_applied_event_is_named_once() {
    let (events, ..) = history(&[1, 2, 3, 4, 5, 6, 7].map(Change::Rename));
    let all: Vec<Envelope<Event>> =
        (1..).zip(&events).map(|(n, event)| envelope(event, n)).collect();
    let listing = run(&all[..2], &[1]).unwrap();
    // Old events, duplicates and news, of which there are more than hops.
    let order = [0, 1, 2, 1, 2, 3, 0, 4, 5, 5, 3, 6, 7, 6];
    let batch: Vec<Arrival<'_>> = order.iter().map(|nth| arrival(&all[*nth])).collect();
    let projected = project(Some(&listing), ID, &batch, at(0)).unwrap();
    let applied: Vec<i64> = projected.applied.iter().map(|event| event.position).collect();
    assert_eq!(applied, [3, 4, 5, 6, 7, 8]);
}
