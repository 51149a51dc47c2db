//! What contenders have noted of each product, the last look at it, and what the checkers say.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::concurrent_clients::{Arena, product_answer, seen, stock_answer, with_version};
use super::supervised::Address;
use crate::history::Operation;
use crate::history::buyer_reads::{Asked, Seen, Sighting, never_go_back};
use crate::history::linearizable::explain;
use crate::history::product::{self, ProductModel};
use crate::history::stock::{self, StockModel};
use crate::openapi::send;

/// What everybody's products are in, and nothing else is.
pub(crate) const CATEGORY: &str = "contended";

/// What there is of each at first: more than anybody takes.
pub(crate) const ON_HAND: i64 = 10_000;

/// Whoever looks when all others have gone.
const LAST: u32 = 0;

/// How long what was acknowledged may take to be shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was noted, by product.
#[derive(Debug, Default)]
pub(crate) struct Notes(BTreeMap<Uuid, History>);

/// What was noted of one product.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) product: Vec<Operation<product::Call, product::Answer>>,
    pub(crate) stock: Vec<Operation<stock::Call, stock::Answer>>,
    sightings: Vec<Sighting>,
    /// What is among the calls already of what buyers saw.
    noted: HashSet<(i64, String)>,
    available: HashSet<i64>,
}

impl History {
    /// Notes what a buyer saw. It was true at some time before the answer, so it is a call that may
    /// have been done at any time until then, too.
    pub(crate) fn see(&mut self, sighting: Sighting, available: Option<i64>) {
        let Sighting { client, answered, .. } = sighting;
        let invoked = Duration::ZERO;
        if let Seen::Listed { version, name } = &sighting.seen
            && self.noted.insert((*version, name.clone()))
        {
            let answer = product::Answer::Shown { version: *version, name: name.clone() };
            let (call, answer) = (product::Call::Read, Some((answered, answer)));
            self.product.push(Operation { client, call, invoked, answer });
        }
        if let Some(available) = available
            && self.available.insert(available)
        {
            let answer = Some((answered, stock::Answer::Available(available)));
            let call = stock::Call::ReadAvailable;
            self.stock.push(Operation { client, call, invoked, answer });
        }
        self.sightings.push(sighting);
    }

    fn confirmed(&self) -> usize {
        self.sightings.iter().filter(|sighting| sighting.is_confirmed()).count()
    }

    /// Whether its creator was told that he created it.
    fn is_whole(&self) -> bool {
        self.product.iter().any(|made| matches!(made.call, product::Call::Create { .. }))
    }

    /// The greatest version that somebody was told.
    fn version(&self) -> i64 {
        let answers = self.product.iter().filter_map(|made| made.answer.as_ref());
        let versions = answers.map(|(_, answer)| match answer {
            product::Answer::Shown { version, .. } => *version,
            _ => 0,
        });
        versions.max().unwrap_or(0)
    }

    /// Pairs of answered calls that were under way at once.
    fn overlaps(&self) -> usize {
        let by_sellers = |made: &&Operation<_, product::Answer>| {
            made.invoked > Duration::ZERO && made.answer.is_some()
        };
        let calls: Vec<_> = self.product.iter().filter(by_sellers).collect();
        let after = |nth: usize| calls[nth + 1..].iter();
        let of = |(nth, one): (usize, &&Operation<_, _>)| {
            after(nth).filter(|other| one.overlaps(other)).count()
        };
        calls.iter().enumerate().map(of).sum()
    }

    /// Changes whose answers were lost.
    fn lost(&self) -> usize {
        let product = self.product.iter().filter(|made| made.answer.is_none());
        let stock = self.stock.iter().filter(|made| made.answer.is_none());
        product.filter(|made| made.call != product::Call::Read).count()
            + stock.filter(|made| made.call != stock::Call::Read).count()
    }
}

/// How much there was to explain.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    products: usize,
    calls: usize,
    /// Changes whose answers were lost.
    pub(crate) lost: usize,
    /// Pairs of answered calls to the same product that were under way at once.
    pub(crate) overlaps: usize,
    sightings: usize,
    /// Of those, the ones that asked for a version.
    pub(crate) confirmed: usize,
}

impl Notes {
    /// How often a buyer asked for a version and was told that it has come.
    pub(crate) fn confirmed(&self) -> usize {
        self.0.values().map(History::confirmed).sum()
    }

    pub(crate) fn of(&mut self, id: Uuid) -> &mut History {
        self.0.entry(id).or_default()
    }

    /// Looks at every product once more, as its seller and as a buyer, until both see the same.
    pub(crate) async fn look_again(&mut self, http: &reqwest::Client, at: &Address, arena: &Arena) {
        for (id, history) in self.0.iter_mut().filter(|(_, history)| history.is_whole()) {
            let path = format!("{}/v1/products/{id}", at.url);
            let own = async |path: &str| {
                let invoked = arena.now();
                let answer = send(http.get(path).bearer_auth(&at.token)).await;
                (invoked, arena.now(), answer)
            };
            let (invoked, answered, product) = own(&path).await;
            let (call, answer) = (product::Call::Read, Some((answered, product_answer(&product))));
            history.product.push(Operation { client: LAST, call, invoked, answer });
            let (invoked, answered, stock) = own(&format!("{path}/stock")).await;
            if stock.status != 404 {
                let (call, answer) = (stock::Call::Read, Some((answered, stock_answer(&stock))));
                history.stock.push(Operation { client: LAST, call, invoked, answer });
            }

            let min_version = Some(history.version());
            let url = with_version(format!("{}/v1/catalog/products/{id}", at.url), min_version);
            let begun = Instant::now();
            loop {
                let invoked = arena.now();
                // Where it has not arrived yet, there is no answer.
                let listing = super::answered(http.get(&url)).await.map(|it| (arena.now(), it));
                let is_right = listing.as_ref().is_some_and(|(_, listing)| {
                    let [product, stock, listing] = [&product, &stock, listing].map(|it| &it.json);
                    listing["version"] == product["version"]
                        && listing["name"] == product["name"]
                        && listing["content_hash"] == product["content_hash"]
                        && listing["available"] == stock["available"]
                });
                assert!(
                    is_right || begun.elapsed() < PATIENCE,
                    "{id} is {} with {} and shown as {listing:#?}",
                    product.text,
                    stock.text
                );
                if let Some((answered, listing)) = listing {
                    let (client, asked) = (LAST, Asked::ById { min_version });
                    let sighting =
                        Sighting { client, invoked, answered, asked, seen: seen(&listing) };
                    history.see(sighting, listing.json["available"].as_i64());
                }
                if is_right {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Explains every history; panics with the first one that cannot be explained.
    pub(crate) fn explain(&self, seed: u64) -> Explained {
        let mut explained = Explained::default();
        for (id, history) in self.0.iter().filter(|(_, history)| history.is_whole()) {
            if let Err(unexplained) = explain(&ProductModel::Absent, &history.product) {
                panic!("seed {seed}, product {id}: {unexplained}");
            }
            let first = StockModel { version: 1, on_hand: ON_HAND };
            if let Err(unexplained) = explain(&first, &history.stock) {
                panic!("seed {seed}, stock of {id}: {unexplained}");
            }
            if let Err(went_back) = never_go_back(&history.sightings) {
                panic!("seed {seed}, what buyers saw of {id}: {went_back}");
            }
            explained.products += 1;
            explained.calls += history.product.len() + history.stock.len();
            explained.lost += history.lost();
            explained.overlaps += history.overlaps();
            explained.sightings += history.sightings.len();
            explained.confirmed += history.confirmed();
        }
        explained
    }
}
