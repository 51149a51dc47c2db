//! The load: a seller creates, changes, counts and deletes products, and a buyer reads them.
//!
//! At most one request at a time is about a product. The expected response is therefore known, and
//! any other response is an error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use axum::http::Method;
use catalog::ListedProduct;
use inventory::ProductView;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::id::ProductId;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vitrina::client::Client;

use crate::number::Latencies;

/// Maximum number of requests in flight. A request above it is not sent and counts as an error. The
/// client retries while a store is unavailable: without a limit, the load would grow into a storm.
const MAX_IN_FLIGHT: u32 = 100;

/// One in this many created products is polled for in the catalogue.
const LAG_SAMPLE: u64 = 5;

/// Time between two polls for a product.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A product that is not visible after this time is lost.
const VISIBILITY_TIMEOUT: Duration = Duration::from_mins(2);

/// Generates the load.
#[derive(Debug)]
pub(crate) struct LoadGenerator {
    seller: Client,
    reader: Client,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    /// Products without a request in flight.
    idle: Vec<KnownProduct>,
    /// Number of products created since the start.
    created: u64,
    number: u64,
    stats: LoadStats,
}

/// A product as of its last response.
#[derive(Clone, Copy, Debug)]
struct KnownProduct {
    id: ProductId,
    version: i64,
}

/// Statistics since the last call of [`LoadGenerator::take`].
#[derive(Debug, Default)]
pub(crate) struct LoadStats {
    pub(crate) responses: u64,
    pub(crate) errors: u64,
    /// The last error.
    pub(crate) error: Option<String>,
    pub(crate) latencies: Latencies,
    /// From commit to visible.
    pub(crate) lags: Latencies,
    /// Number of products created since the start.
    pub(crate) created: u64,
}

/// The next request to send.
#[derive(Clone, Copy, Debug)]
enum Request {
    Create,
    List,
    Patch(KnownProduct),
    Count(KnownProduct),
    Delete(KnownProduct),
    Read(KnownProduct),
}

impl LoadGenerator {
    pub(crate) fn new(seller: Client, reader: Client, seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            idle: Vec::new(),
            created: 0,
            number: 0,
            stats: LoadStats::default(),
        };
        let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT as usize));
        Self { seller, reader, permits, state: Mutex::new(state) }
    }

    /// Sends `rate` requests a second until `stop`, however late the responses are. Then waits for the
    /// remaining responses.
    pub(crate) async fn run(self: Arc<Self>, rate: u32, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.is_cancelled() {
            let scheduled = ticks.tick().await;
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                self.note_error("too many requests are in flight".to_owned());
                continue;
            };
            let (request, number) = self.lock().next_request();
            let generator = Arc::clone(&self);
            tokio::spawn(async move {
                generator.perform(request, number, scheduled).await;
                drop(permit);
            });
        }
        // All permits are free only when no request is in flight.
        let _ = self.permits.acquire_many(MAX_IN_FLIGHT).await;
    }

    /// Returns the statistics since the last call.
    pub(crate) fn take(&self) -> LoadStats {
        let mut state = self.lock();
        state.stats.created = state.created;
        std::mem::take(&mut state.stats)
    }

    async fn perform(&self, request: Request, number: u64, scheduled: Instant) {
        match self.send(request, number).await {
            Ok(known) => {
                {
                    let mut state = self.lock();
                    state.stats.responses += 1;
                    state.stats.latencies.record(scheduled.elapsed());
                    state.created += u64::from(matches!(request, Request::Create));
                }
                if let (Request::Create, Some(known)) = (request, known)
                    && number.is_multiple_of(LAG_SAMPLE)
                {
                    self.wait_until_visible(known.id).await;
                }
                self.lock().idle.extend(known);
            }
            // The state of the product is unknown now, so it gets no further requests.
            Err(error) => self.note_error(format!("{error:#}")),
        }
    }

    /// Sends a request. Returns the product afterwards, unless it was deleted.
    async fn send(&self, request: Request, number: u64) -> anyhow::Result<Option<KnownProduct>> {
        let path = |known: KnownProduct| format!("/v1/products/{}", known.id);
        let known = |product: ProductView| {
            Ok(Some(KnownProduct { id: product.id, version: product.version }))
        };
        match request {
            Request::Create => {
                let call = self.seller.call(Method::POST, "/v1/products");
                known(call.key(&format!("soak-{number}")).json(&product(number)).send().await?)
            }
            Request::Patch(was) => {
                let patch =
                    json!({"name": format!("Renamed {number}"), "price": {"amount": number}});
                let call = self.seller.call(Method::PATCH, &path(was)).if_match("*");
                known(call.repeatable().json(&patch).send().await?)
            }
            Request::Count(is) => {
                let call = self.seller.call(Method::PUT, &format!("{}/stock", path(is)));
                let counted = json!({"on_hand": number % 20});
                let _: Value = call.if_match("*").repeatable().json(&counted).send().await?;
                Ok(Some(is))
            }
            Request::Delete(was) => {
                let call = self.seller.call(Method::DELETE, &path(was)).if_match("*").repeatable();
                match call.send::<()>().await {
                    // 404: an earlier attempt deleted it, and its response was lost.
                    Err(error) if error.status() != Some(404) => Err(error.into()),
                    _ => Ok(None),
                }
            }
            Request::Read(is) => {
                let path = format!("/v1/catalog/products/{}", is.id);
                let call = self.reader.call(Method::GET, &path);
                let shown: ListedProduct =
                    call.query("min_version", &is.version.to_string()).send().await?;
                if shown.version != is.version {
                    let (id, shown, is) = (is.id, shown.version, is.version);
                    bail!("{id} was returned in version {shown} instead of {is}");
                }
                Ok(Some(is))
            }
            Request::List => {
                let category = format!("cat-{}", number % 10);
                let call = self.reader.call(Method::GET, "/v1/catalog/products");
                let _: Value = call.query("category", &category).send().await?;
                Ok(None)
            }
        }
    }

    /// Polls for a new product until it is listed.
    async fn wait_until_visible(&self, id: ProductId) {
        let committed = Instant::now();
        let path = format!("/v1/catalog/products/{id}");
        let fault = loop {
            match self.reader.get::<ListedProduct>(&path).await {
                Ok(_) => return self.lock().stats.lags.record(committed.elapsed()),
                Err(error) if error.status() != Some(404) => break error.into(),
                Err(_) if committed.elapsed() > VISIBILITY_TIMEOUT => {
                    break anyhow!("{id} does not become visible");
                }
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        };
        self.note_error(format!("{fault:#}"));
    }

    fn note_error(&self, error: String) {
        let mut state = self.lock();
        state.stats.errors += 1;
        state.stats.error = Some(error);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next request, and its number.
    fn next_request(&mut self) -> (Request, u64) {
        self.number += 1;
        let kind = self.rng.random_range(0..100);
        if kind < 20 || self.idle.is_empty() {
            return (Request::Create, self.number);
        }
        if kind < 40 {
            return (Request::List, self.number);
        }
        let nth = self.rng.random_range(0..self.idle.len());
        let known = self.idle.swap_remove(nth);
        let request = match kind {
            40..60 => Request::Patch(known),
            60..70 => Request::Count(known),
            70..80 => Request::Delete(known),
            _ => Request::Read(known),
        };
        (request, self.number)
    }
}

fn product(number: u64) -> Value {
    json!({
        "sku": format!("SOAK-{number}"), "name": format!("Product {number}"),
        "category": format!("cat-{}", number % 10), "attributes": {"colour": "red", "size": 42},
        "price": {"amount": number % 100_000, "currency": "BRL"}, "stock": {"on_hand": 5},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_is_in_at_most_one_request_at_a_time() {
        let ids = 1..=50_u128;
        let known = |id| KnownProduct { id: ProductId::from_u128(id), version: 1 };
        let mut state = State {
            rng: StdRng::seed_from_u64(1),
            idle: ids.map(known).collect(),
            created: 0,
            number: 0,
            stats: LoadStats::default(),
        };
        let mut taken = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            if let (
                Request::Patch(one)
                | Request::Count(one)
                | Request::Delete(one)
                | Request::Read(one),
                _,
            ) = state.next_request()
            {
                assert!(taken.insert(one.id));
            }
        }
        assert_eq!(taken.len(), 50);
    }

    #[test]
    fn create_body_is_valid_for_the_write_side() {
        assert_eq!(inventory::check(product(7).to_string().as_bytes()), Ok(()));
    }
}
