use chrono::DateTime;
use shared::money::Money;

use super::*;

fn card(id: u128, amount: i64, in_stock: bool) -> ProductCard {
    ProductCard {
        id: ProductId::from_u128(id),
        seller_id: SellerId::from_u128(3),
        name: "Running shoe".to_owned(),
        category: "shoes".to_owned(),
        price: Money { amount, currency: Currency::default() },
        in_stock,
        version: 1,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn list(order: Order) -> List {
    List {
        scope: Scope::All,
        order,
        currency: Currency::default(),
        availability: None,
        amounts: None,
        after: None,
    }
}

#[test]
fn listing_that_moves_between_partitions_is_listed_once() {
    for order in [Order::Newest, Order::Cheapest, Order::Dearest] {
        // Between the two reads, it was sold out or came back, at the same price or at another one.
        for amount in [20, 1, 90] {
            let part = |cards| Part { cards, frontier: None };
            let in_stock = part(vec![card(7, 20, true), card(8, 40, true)]);
            let sold_out = part(vec![card(7, amount, false), card(9, 60, false)]);
            let found = merge(&list(order), vec![in_stock, sold_out], 10);
            let ids = found.cards.iter().map(|card| card.id.uuid().as_u128());
            let mut ids: Vec<u128> = ids.collect();
            ids.sort_unstable();
            assert_eq!(ids, [7, 8, 9], "{order:?}, {amount}");
            assert_eq!(found.next, None, "{order:?}, {amount}");
        }
    }
}

#[test]
fn page_ends_where_the_first_partition_stopped_reading() {
    /// Places in the list, from 1: those of cards, and where a partition or a page ends.
    type Read = (&'static [u8], Option<u8>);
    // What each partition has, and a page of at most three cards.
    const CASES: [(Read, Read, Read); 9] = [
        ((&[1, 5], None), (&[2], None), (&[1, 2, 5], None)),
        ((&[1], Some(7)), (&[], None), (&[1], Some(7))),
        ((&[], Some(7)), (&[], None), (&[], Some(7))),
        ((&[], Some(7)), (&[], Some(4)), (&[], Some(4))),
        ((&[1, 7], Some(7)), (&[2], Some(4)), (&[1, 2], Some(4))),
        ((&[1, 7], None), (&[2], Some(4)), (&[1, 2], Some(4))),
        ((&[4], Some(4)), (&[9], None), (&[4], Some(4))),
        ((&[1, 2, 3, 4], Some(4)), (&[5, 6], Some(9)), (&[1, 2, 3], Some(3))),
        ((&[1, 2, 3], Some(3)), (&[], None), (&[1, 2, 3], Some(3))),
    ];
    for order in [Order::Newest, Order::Cheapest, Order::Dearest] {
        let list = list(order);
        let card = |nth: &u8| {
            let nth = if order == Order::Cheapest { *nth } else { 100 - nth };
            card(nth.into(), nth.into(), true)
        };
        let place = |nth: u8| list.place(&card(&nth));
        let part = |(nths, frontier): Read| Part {
            cards: nths.iter().map(card).collect(),
            frontier: frontier.map(place),
        };
        for (a, b, (nths, next)) in CASES {
            for parts in [[a, b], [b, a]] {
                let found = merge(&list, parts.map(part).into(), 3);
                let ids: Vec<ProductId> = found.cards.iter().map(|card| card.id).collect();
                let expected: Vec<ProductId> = nths.iter().map(|nth| card(nth).id).collect();
                let expected = (expected, next.map(place));
                assert_eq!((ids, found.next), expected, "{order:?} {parts:?}");
            }
        }
    }
}
