//! The load: sellers who create, change, count and delete, and buyers who read what they wrote.
//!
//! A product is in one request at a time, so what must be answered is known, and every other answer
//! is an error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use axum::http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vitrina::client::Client;

use crate::number::Latencies;

/// Requests that may be under way; one more than that is not sent, and counts as an error. Each is
/// repeated while a store is away: more of them would be a storm, and no moderate load.
const UNDER_WAY: u32 = 100;

/// Of so many creates one is looked for in the catalogue.
const LOOKED_FOR: u64 = 5;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a product is looked for before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// Makes the load.
#[derive(Debug)]
pub(crate) struct LoadGenerator {
    seller: Client,
    reader: Client,
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    /// Products that no request is about.
    idle: Vec<KnownProduct>,
    /// How many were created, ever.
    created: u64,
    number: u64,
    seen: LoadStats,
}

/// A product as its last answer left it.
#[derive(Clone, Copy, Debug)]
struct KnownProduct {
    id: Uuid,
    version: i64,
}

/// What was seen since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct LoadStats {
    pub(crate) answered: u64,
    pub(crate) errors: u64,
    /// One of those.
    pub(crate) error: Option<String>,
    pub(crate) latencies: Latencies,
    /// From commit to visible.
    pub(crate) lags: Latencies,
    /// How many products were created, ever.
    pub(crate) created: u64,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
enum Request {
    Create,
    List,
    Patch(KnownProduct),
    Count(KnownProduct),
    Delete(KnownProduct),
    Read(KnownProduct),
}

#[derive(Deserialize)]
struct Product {
    id: Uuid,
    version: i64,
}

impl LoadGenerator {
    pub(crate) fn new(seller: Client, reader: Client, seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            idle: Vec::new(),
            created: 0,
            number: 0,
            seen: LoadStats::default(),
        };
        let places = Arc::new(Semaphore::new(UNDER_WAY as usize));
        Self { seller, reader, places, state: Mutex::new(state) }
    }

    /// Sends `rate` requests a second, whether answers come or not, until `stop`; then waits for
    /// the answers.
    pub(crate) async fn run(self: Arc<Self>, rate: u32, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.is_cancelled() {
            let meant = ticks.tick().await;
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.note_error("too many requests wait for their answers".to_owned());
                continue;
            };
            let (wish, number) = self.lock().wish();
            let drive = Arc::clone(&self);
            tokio::spawn(async move {
                drive.fulfil(wish, number, meant).await;
                drop(place);
            });
        }
        // Whoever has every place is alone.
        let _ = self.places.acquire_many(UNDER_WAY).await;
    }

    /// What was seen since the last time.
    pub(crate) fn take(&self) -> LoadStats {
        let mut state = self.lock();
        state.seen.created = state.created;
        std::mem::take(&mut state.seen)
    }

    async fn fulfil(&self, wish: Request, number: u64, meant: Instant) {
        match self.send(wish, number).await {
            Ok(known) => {
                {
                    let mut state = self.lock();
                    state.seen.answered += 1;
                    state.seen.latencies.record(meant.elapsed());
                    state.created += u64::from(matches!(wish, Request::Create));
                }
                if let (Request::Create, Some(known)) = (wish, known)
                    && number.is_multiple_of(LOOKED_FOR)
                {
                    self.look_for(known.id).await;
                }
                self.lock().idle.extend(known);
            }
            // What became of its product is not known: no request is about it any more.
            Err(error) => self.note_error(format!("{error:#}")),
        }
    }

    /// Sends a request, and returns the product as it is then, if there still is one.
    async fn send(&self, wish: Request, number: u64) -> anyhow::Result<Option<KnownProduct>> {
        let path = |known: KnownProduct| format!("/v1/products/{}", known.id);
        let known = |product: Product| {
            let Product { id, version } = product;
            Ok(Some(KnownProduct { id, version }))
        };
        match wish {
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
                    // It was deleted, and the answer was lost.
                    Err(error) if error.status() != Some(404) => Err(error.into()),
                    _ => Ok(None),
                }
            }
            Request::Read(is) => {
                let path = format!("/v1/catalog/products/{}", is.id);
                let call = self.reader.call(Method::GET, &path);
                let shown: Product =
                    call.query("min_version", &is.version.to_string()).send().await?;
                if shown.version != is.version {
                    let (id, shown, is) = (is.id, shown.version, is.version);
                    bail!("{id} was shown in version {shown}, and is in {is}");
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

    /// Looks for a new product until it is listed.
    async fn look_for(&self, id: Uuid) {
        let committed = Instant::now();
        let path = format!("/v1/catalog/products/{id}");
        let fault = loop {
            match self.reader.get::<Product>(&path).await {
                Ok(_) => return self.lock().seen.lags.record(committed.elapsed()),
                Err(error) if error.status() != Some(404) => break error.into(),
                Err(_) if committed.elapsed() > PATIENCE => {
                    break anyhow!("{id} does not become visible");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        self.note_error(format!("{fault:#}"));
    }

    fn note_error(&self, error: String) {
        let mut state = self.lock();
        state.seen.errors += 1;
        state.seen.error = Some(error);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is asked for next, and its number.
    fn wish(&mut self) -> (Request, u64) {
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
        let wish = match kind {
            40..60 => Request::Patch(known),
            60..70 => Request::Count(known),
            70..80 => Request::Delete(known),
            _ => Request::Read(known),
        };
        (wish, self.number)
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
    fn a_product_is_in_one_request_at_a_time() {
        let ids = 1..=50_u128;
        let known = |id| KnownProduct { id: Uuid::from_u128(id), version: 1 };
        let mut state = State {
            rng: StdRng::seed_from_u64(1),
            idle: ids.map(known).collect(),
            created: 0,
            number: 0,
            seen: LoadStats::default(),
        };
        let mut taken = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            if let (
                Request::Patch(one)
                | Request::Count(one)
                | Request::Delete(one)
                | Request::Read(one),
                _,
            ) = state.wish()
            {
                assert!(taken.insert(one.id));
            }
        }
        assert_eq!(taken.len(), 50);
    }

    #[test]
    fn what_is_created_is_what_the_write_side_takes() {
        assert_eq!(inventory::check(product(7).to_string().as_bytes()), Ok(()));
    }
}
