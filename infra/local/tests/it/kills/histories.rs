//! The recorded history of each shared product, its final read, and its check.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use shared::id::ProductId;
use testkit::eventually;

use super::concurrent_clients::{
    SharedProducts, product_response, seen, stock_response, with_version,
};
use super::supervised::Address;
use crate::history::Operation;
use crate::history::buyer_reads::{BuyerRead, ReadKind, Seen, check_monotonic};
use crate::history::linearizable::explain;
use crate::history::product::{self, ProductModel};
use crate::history::stock::{self, StockModel};
use crate::openapi::send;

/// Category of the shared products only.
pub(crate) const CATEGORY: &str = "contended";

/// Initial stock of each product: more than all clients together take.
pub(crate) const ON_HAND: i64 = 10_000;

/// Client number of the final reads, after all clients have stopped.
const FINAL_READER: u32 = 0;

/// History of each product.
#[derive(Debug, Default)]
pub(crate) struct Histories(BTreeMap<ProductId, History>);

/// Calls about one product and about its stock, and buyers' reads.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) product: Vec<Operation<product::Call, product::Response>>,
    pub(crate) stock: Vec<Operation<stock::Call, stock::Response>>,
    buyer_reads: Vec<BuyerRead>,
    /// States from buyers' reads that are already among the calls.
    listed: HashSet<(i64, String)>,
    available: HashSet<i64>,
}

impl History {
    /// Records a buyer's read. A listing may lag, so the state it shows was current at some time before
    /// the response: it is also recorded as a read call that began at time zero.
    pub(crate) fn record_read(&mut self, read: BuyerRead, available: Option<i64>) {
        let BuyerRead { client, responded, .. } = read;
        let invoked = Duration::ZERO;
        if let Seen::Listed { version, name } = &read.seen
            && self.listed.insert((*version, name.clone()))
        {
            let response = product::Response::Shown { version: *version, name: name.clone() };
            let (call, response) = (product::Call::Read, Some((responded, response)));
            self.product.push(Operation { client, call, invoked, response });
        }
        if let Some(available) = available
            && self.available.insert(available)
        {
            let response = Some((responded, stock::Response::Available(available)));
            let call = stock::Call::ReadAvailable;
            self.stock.push(Operation { client, call, invoked, response });
        }
        self.buyer_reads.push(read);
    }

    fn confirmed(&self) -> usize {
        self.buyer_reads.iter().filter(|read| read.is_confirmed()).count()
    }

    /// Whether the create was recorded. Without it the history cannot be explained.
    fn has_create(&self) -> bool {
        self.product.iter().any(|operation| matches!(operation.call, product::Call::Create { .. }))
    }

    /// The greatest version in any response.
    fn version(&self) -> i64 {
        let responses = self.product.iter().filter_map(|operation| operation.response.as_ref());
        let versions = responses.map(|(_, response)| match response {
            product::Response::Shown { version, .. } => *version,
            _ => 0,
        });
        versions.max().unwrap_or(0)
    }

    /// Pairs of completed calls that were in flight at the same time.
    fn overlaps(&self) -> usize {
        let by_sellers = |operation: &&Operation<_, product::Response>| {
            operation.invoked > Duration::ZERO && operation.response.is_some()
        };
        let calls: Vec<_> = self.product.iter().filter(by_sellers).collect();
        let after = |nth: usize| calls[nth + 1..].iter();
        let of = |(nth, one): (usize, &&Operation<_, _>)| {
            after(nth).filter(|other| one.overlaps(other)).count()
        };
        calls.iter().enumerate().map(of).sum()
    }

    /// Changes with a lost response.
    fn lost(&self) -> usize {
        let product = self.product.iter().filter(|operation| operation.response.is_none());
        let stock = self.stock.iter().filter(|operation| operation.response.is_none());
        product.filter(|operation| operation.call != product::Call::Read).count()
            + stock.filter(|operation| operation.call != stock::Call::Read).count()
    }
}

/// Totals of what was explained.
#[derive(Debug, Default)]
pub(crate) struct CheckedCounts {
    products: usize,
    calls: usize,
    /// Changes with a lost response.
    pub(crate) lost: usize,
    /// Pairs of completed calls to the same product that were in flight at the same time.
    pub(crate) overlaps: usize,
    buyer_reads: usize,
    /// Of `buyer_reads`, those that confirmed a requested version.
    pub(crate) confirmed: usize,
}

impl Histories {
    /// Number of buyers' reads that confirmed a requested version.
    pub(crate) fn confirmed(&self) -> usize {
        self.0.values().map(History::confirmed).sum()
    }

    /// Pairs of completed calls to the same product that were in flight at the same time.
    pub(crate) fn overlaps(&self) -> usize {
        self.0.values().map(History::overlaps).sum()
    }

    pub(crate) fn of(&mut self, id: ProductId) -> &mut History {
        self.0.entry(id).or_default()
    }

    /// Reads every product as its seller and as a buyer until both see the same.
    pub(crate) async fn read_until_consistent(
        &mut self,
        http: &reqwest::Client,
        at: &Address,
        products: &SharedProducts,
    ) {
        for (id, history) in self.0.iter_mut().filter(|(_, history)| history.has_create()) {
            let path = format!("{}/v1/products/{id}", at.url);
            let own = async |path: &str| {
                let invoked = products.now();
                let response = send(http.get(path).bearer_auth(&at.token)).await;
                (invoked, products.now(), response)
            };
            let (invoked, responded, product) = own(&path).await;
            let (call, response) =
                (product::Call::Read, Some((responded, product_response(&product))));
            history.product.push(Operation { client: FINAL_READER, call, invoked, response });
            let (invoked, responded, stock) = own(&format!("{path}/stock")).await;
            if stock.status != 404 {
                let (call, response) =
                    (stock::Call::Read, Some((responded, stock_response(&stock))));
                history.stock.push(Operation { client: FINAL_READER, call, invoked, response });
            }

            let min_version = Some(history.version());
            let url = with_version(format!("{}/v1/catalog/products/{id}", at.url), min_version);
            let what = format!("{id} to be listed as {} with stock {}", product.text, stock.text);
            eventually(&what, async || {
                let invoked = products.now();
                // An error while the version has not arrived.
                let listing = super::complete_response(http.get(&url)).await.ok()?;
                let (client, kind) = (FINAL_READER, ReadKind::ById { min_version });
                let (responded, seen) = (products.now(), seen(&listing));
                let read = BuyerRead { client, invoked, responded, kind, seen };
                history.record_read(read, listing.json["available"].as_i64());
                let [product, stock, listing] = [&product, &stock, &listing].map(|it| &it.json);
                let is_consistent = listing["version"] == product["version"]
                    && listing["name"] == product["name"]
                    && listing["content_hash"] == product["content_hash"]
                    && listing["available"] == stock["available"];
                is_consistent.then_some(())
            })
            .await;
        }
    }

    /// Checks every history. Panics with the first one that cannot be explained.
    pub(crate) fn explain(&self, seed: u64) -> CheckedCounts {
        let mut explained = CheckedCounts::default();
        for (id, history) in self.0.iter().filter(|(_, history)| history.has_create()) {
            if let Err(unexplained) = explain(&ProductModel::Absent, &history.product) {
                panic!("seed {seed}, product {id}: {unexplained}");
            }
            let first = StockModel { version: 1, on_hand: ON_HAND };
            if let Err(unexplained) = explain(&first, &history.stock) {
                panic!("seed {seed}, stock of {id}: {unexplained}");
            }
            if let Err(error) = check_monotonic(&history.buyer_reads) {
                panic!("seed {seed}, what buyers saw of {id}: {error}");
            }
            explained.products += 1;
            explained.calls += history.product.len() + history.stock.len();
            explained.lost += history.lost();
            explained.overlaps += history.overlaps();
            explained.buyer_reads += history.buyer_reads.len();
            explained.confirmed += history.confirmed();
        }
        explained
    }
}
