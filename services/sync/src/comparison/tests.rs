use proptest::prelude::*;

use super::*;
use shared::contract::product::{Attributes, Product, Status};
use shared::contract::stock::Stock;
use shared::id::{ProductId, SellerId};
use shared::money::{Currency, Money};

const DAY: i64 = 24 * 60 * 60;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn row(id: u128, version: i64) -> Row {
    Row {
        id: ProductId::from_u128(id),
        version,
        content_hash: ContentHash(format!("hash {version}")),
        deleted_at: None,
        updated_at: at(0),
        stock: StockPart { version: 1, on_hand: 5, held: 0 },
        stock_updated_at: at(0),
    }
}

fn listing_of(row: &Row) -> Listed {
    Listed {
        id: row.id,
        version: row.version,
        content_hash: Some(row.content_hash.clone()),
        is_tombstone: row.deleted_at.is_some(),
        stock: row.stock,
        is_sound: true,
        category: None,
        position: 1,
    }
}

fn kind(row: Option<&Row>, listed: Option<&Listed>, now: DateTime<Utc>) -> Option<Kind> {
    compare(row, listed, now).map(|difference| difference.kind())
}

#[test]
fn each_kind_of_drift_is_recognised() {
    let row = row(1, 3);
    let good = listing_of(&row);
    let now = at(10);
    let differs = |change: fn(&mut Listed)| {
        let mut listed = good.clone();
        change(&mut listed);
        kind(Some(&row), Some(&listed), now)
    };
    assert_eq!(kind(Some(&row), Some(&good), now), None);
    assert_eq!(kind(Some(&row), None, now), Some(Kind::Missing));
    assert_eq!(kind(None, Some(&good), now), Some(Kind::Extra));
    assert_eq!(differs(|l| l.version = 0), Some(Kind::Missing));
    assert_eq!(differs(|l| l.version = 2), Some(Kind::Stale));
    assert_eq!(differs(|l| l.version = 4), Some(Kind::Ahead));
    assert_eq!(differs(|l| l.content_hash = None), Some(Kind::Altered));
    assert_eq!(differs(|l| l.is_tombstone = true), Some(Kind::Altered));
    assert_eq!(differs(|l| l.is_sound = false), Some(Kind::Altered));
    assert_eq!(differs(|l| l.stock.on_hand = 6), Some(Kind::Stock));
    assert_eq!(differs(|l| l.stock.version = 0), Some(Kind::Stock));
    assert_eq!(differs(|l| l.stock.version = 2), Some(Kind::Ahead));
}

#[test]
fn gap_is_as_old_as_its_own_part() {
    let row = Row { updated_at: at(1), stock_updated_at: at(2), ..row(1, 3) };
    let since = |change: fn(&mut Listed)| {
        let mut listed = listing_of(&row);
        change(&mut listed);
        let Difference { product, stock, .. } = compare(Some(&row), Some(&listed), at(10)).unwrap();
        (product.map(|gap| gap.since), stock.map(|gap| gap.since))
    };
    assert_eq!(since(|l| l.version = 2), (Some(Some(at(1))), None));
    assert_eq!(since(|l| l.stock.on_hand = 6), (None, Some(Some(at(2)))));
    // What has not been written yet has no time.
    assert_eq!(since(|l| l.version = 4), (Some(None), None));
    assert_eq!(since(|l| l.stock.version = 2), (None, Some(None)));
}

#[test]
fn new_version_is_required_above_the_seen_one() {
    let gap = |truth, seen| Some(Gap { kind: Kind::Altered, truth, seen, since: None });
    let id = ProductId::from_u128(1);
    let of = |product, stock| Difference { id, product, stock };
    let raised = |difference: Difference| difference.requiring_new_version();
    assert_eq!(raised(of(gap(3, 3), gap(7, 7))), of(gap(3, 4), gap(7, 8)));
    // A repair of these versions is above what was seen.
    assert_eq!(raised(of(gap(3, 2), None)), of(gap(3, 2), None));
    assert_eq!(raised(of(None, gap(7, 9))), of(None, gap(7, 9)));
}

#[test]
fn item_is_in_place_only_in_the_bucket_of_its_id() {
    let id = ProductId::from_u128(1);
    let bucket = i32::from(bucket_of(id));
    assert!(is_in_place(id, bucket) && !is_in_place(id, bucket + 1));
}

#[test]
fn product_deleted_long_ago_equals_absence() {
    let mut deleted = row(1, 3);
    deleted.deleted_at = Some(at(0));
    let tombstone = listing_of(&deleted);
    let living = Listed { is_tombstone: false, ..tombstone.clone() };
    let (within, after) = (at(35 * DAY - 1), at(35 * DAY));
    assert_eq!(kind(Some(&deleted), None, within), Some(Kind::Missing));
    assert_eq!(kind(Some(&deleted), None, after), None);
    assert_eq!(kind(Some(&deleted), Some(&tombstone), within), None);
    assert_eq!(kind(Some(&deleted), Some(&tombstone), after), None);
    assert_eq!(kind(None, Some(&tombstone), within), None);
    assert_eq!(kind(Some(&deleted), Some(&living), after), Some(Kind::Extra));
}

#[test]
fn candidate_counts_if_gap_persists_with_no_event_in_flight() {
    let truth = row(1, 3);
    let stale = |version| Listed { version, ..listing_of(&truth) };
    let now = at(10);
    let first = compare(Some(&truth), Some(&stale(1)), now).unwrap();
    let again = |row: &Row, listed: &Listed| {
        confirm(&first, compare(Some(row), Some(listed), now).as_ref(), Parts::default())
    };
    assert_eq!(again(&truth, &stale(1)), Verdict::Differs(first));
    assert_eq!(again(&truth, &stale(2)), Verdict::Moving);
    assert_eq!(again(&row(1, 4), &stale(1)), Verdict::Moving);
    assert_eq!(again(&truth, &stale(3)), Verdict::Agrees);
    let in_flight = Parts { product: true, stock: false };
    assert_eq!(confirm(&first, Some(&first), in_flight), Verdict::Moving);
}

#[test]
fn product_is_repaired_while_its_stock_keeps_moving() {
    let truth = row(1, 3);
    let mut listed = listing_of(&truth);
    listed.version = 2;
    listed.stock.version = 0;
    let first = compare(Some(&truth), Some(&listed), at(10)).unwrap();
    let in_flight = Parts { product: false, stock: true };
    let Verdict::Differs(confirmed) = confirm(&first, Some(&first), in_flight) else {
        panic!("the product part differs and has no event in flight");
    };
    assert!(confirmed.product.is_some());
    assert_eq!(confirmed.stock, None);
}

#[test]
fn wrong_index_keys_or_bucket_make_a_listing_unsound() {
    let id = ProductId::from_u128(0x301);
    let mut item = ListingItem::empty(id);
    assert!(is_sound(&item));
    item.all_key = Some("BRL#i".to_owned());
    assert!(!is_sound(&item));
    let elsewhere = ListingItem { bucket: 7, ..ListingItem::empty(id) };
    assert!(!is_sound(&elsewhere));
}

#[test]
fn listing_without_its_stock_is_sound_if_it_has_no_index_keys() {
    let whole = listing(Status::Active);
    let mut hidden = ListingItem { stock_version: 0, on_hand: 0, ..whole };
    assert!(!is_sound(&hidden), "it is listed, as sold out");
    hidden.set_index_keys();
    assert!(is_sound(&hidden));
    // The first pass over it finds what is missing.
    let truth = row(0x301, 1);
    let mut listed = listing_of(&truth);
    listed.stock = StockPart::default();
    let gap = compare(Some(&truth), Some(&listed), at(10)).unwrap();
    assert_eq!((gap.product, gap.kind()), (None, Kind::Stock));
    assert_eq!(gap.stock.unwrap().seen, 0);
}

#[test]
fn each_wrong_index_key_makes_a_listing_unsound() {
    type Key = fn(&mut ListingItem) -> &mut Option<String>;
    let keys: [(&str, Key); 4] = [
        ("all_key", |item| &mut item.all_key),
        ("category_key", |item| &mut item.category_key),
        ("seller_key", |item| &mut item.seller_key),
        ("price_key", |item| &mut item.price_key),
    ];
    for status in [Status::Active, Status::Draft, Status::Archived] {
        let item = listing(status);
        assert!(is_sound(&item), "{status:?}");
        for (name, key) in keys {
            let mut others = vec![Some("other".to_owned()), Some(String::new())];
            if status == Status::Active {
                others.push(None);
            }
            for other in others {
                let mut item = item.clone();
                assert_ne!(*key(&mut item), other);
                *key(&mut item) = other.clone();
                assert!(!is_sound(&item), "{name} of {status:?}: {other:?}");
            }
        }
        // Each other attribute that the keys are made of.
        let listed = |change: fn(&mut ListingItem)| {
            let mut item = item.clone();
            change(&mut item);
            is_sound(&item)
        };
        assert!(!listed(|item| item.amount = Some(1)));
        assert!(!listed(|item| item.category = Some("hats".to_owned())));
        assert!(!listed(|item| item.seller_id = Some(SellerId::from_u128(8))));
        assert!(!listed(|item| item.name = Some("Stolen".to_owned())));
        assert_eq!(listed(|item| item.on_hand = 0), status != Status::Active);
    }
}

/// A whole listing with pieces in stock.
fn listing(status: Status) -> ListingItem {
    let id = ProductId::from_u128(0x301);
    let product = Product {
        id,
        seller_id: SellerId::from_u128(7),
        sku: "A".to_owned(),
        name: "Shoe".to_owned(),
        description: None,
        category: "shoes".to_owned(),
        attributes: Attributes::new(),
        price: Money { amount: 100, currency: Currency::default() },
        status,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
    };
    let mut item = ListingItem::empty(id);
    item.set_product(&product.hashed(), 1);
    item.set_stock(&Stock { on_hand: 5, held: 0, version: 1, updated_at: at(0) }, 1);
    item.set_index_keys();
    item
}

/// Products with their version in each store; 0 stands for absent.
fn sides() -> impl Strategy<Value = Vec<(u128, i64, i64)>> {
    proptest::collection::btree_map(1_u128..200, (0_i64..4, 0_i64..4), 0..60).prop_map(|products| {
        products
            .into_iter()
            .map(|(id, (true_version, listed_version))| (id, true_version, listed_version))
            .collect()
    })
}

proptest! {
    #[test]
    fn merge_finds_exactly_the_differences_for_any_page_sizes(
        products in sides(), row_page in 1_usize..9, listed_page in 1_usize..9,
    ) {
        let rows: Vec<Row> = products.iter().filter(|p| p.1 > 0).map(|p| row(p.0, p.1)).collect();
        let listed: Vec<Listed> =
            products.iter().filter(|p| p.2 > 0).map(|p| listing_of(&row(p.0, p.2))).collect();
        let expected: Vec<(ProductId, Kind)> = products
            .iter()
            .filter_map(|&(id, truth, seen)| {
                let kind = match (truth, seen) {
                    _ if truth == seen => return None,
                    (0, _) => Kind::Extra,
                    (_, 0) => Kind::Missing,
                    _ if truth < seen => Kind::Ahead,
                    _ => Kind::Stale,
                };
                Some((ProductId::from_u128(id), kind))
            })
            .collect();
        let mut row_pages = rows.chunks(row_page);
        let mut listed_pages = listed.chunks(listed_page);
        let mut merge = Merge::default();
        let mut found = Vec::new();
        loop {
            if merge.needs_rows() {
                let page = row_pages.next().unwrap_or_default();
                merge.push_rows(page.to_vec(), page.len() < row_page);
            } else if merge.needs_listed() {
                let page = listed_pages.next().unwrap_or_default();
                merge.push_listed(page.to_vec(), page.len() < listed_page);
            } else {
                let Some((row, listed)) = merge.next_pair() else { break };
                if let Some(d) = compare(row.as_ref(), listed.as_ref(), at(10)) {
                    found.push((d.id, d.kind()));
                }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
