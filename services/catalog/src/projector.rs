//! The projector: the only writer of listings.
//!
//! It reads the stored listings of a batch, folds the events in with the pure projection, and puts
//! each changed listing on condition that both fences are unchanged since the read. A projector that
//! loses the race reads again. Many events cost one write, and a duplicate costs no write.
//!
//! The first read is eventually consistent, which costs half. This is safe: an event that an older
//! state has already seen is also in the newest state, and a put based on an older state loses the race.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use moka::sync::Cache;
use shared::clock::Clock;
use shared::contract::envelope::Envelope;
use shared::contract::inventory::Event;
use shared::contract::listing::ListingItem;
use shared::dynamodb::Consistency;
use shared::failpoint;
use shared::host::intake::{Delivery, Failure, Handler};
use shared::id::ProductId;
use shared::telemetry;
use tokio::sync::Mutex;

use crate::projection::{Arrival, Projected, project};
use crate::store::categories;
use crate::store::listings::{Listings, StoreError, Stored};

/// Puts in flight at once.
const CONCURRENT_PUTS: usize = 16;

/// Races that may be lost in a row. Another projector wins each of them, so the listing makes progress.
const MAX_RACES: usize = 10;

/// Categories remembered as already recorded.
const CATEGORY_CACHE_SIZE: u64 = 10_000;

/// How long a category is remembered as recorded. Reconciliation removes categories without products,
/// and the table may be recreated.
const CATEGORY_CACHE_TIME: Duration = Duration::from_secs(10);

/// Projects events into listings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Projector {
    listings: Listings,
    clock: Clock,
    noted: Cache<String, ()>,
    /// Held while the recorded categories are read, so that a batch reads them only once.
    reading: Arc<Mutex<()>>,
}

impl Projector {
    pub fn new(client: Client, table: &str, clock: Clock) -> Self {
        let noted = category_cache(CATEGORY_CACHE_TIME);
        Self { listings: Listings::new(client, table), clock, noted, reading: Arc::default() }
    }

    /// Projects the events of one product, until a put succeeds or no event is news.
    async fn project(
        &self,
        id: ProductId,
        mut stored: Option<Stored>,
        arrivals: &[Arrival<'_>],
    ) -> Result<(), Failure> {
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            let before = stored.as_ref().map(|stored| &stored.item);
            let Some(Projected { listing, applied }) = project(before, id, arrivals, now) else {
                return Ok(());
            };
            self.record_category(&listing).await.map_err(|error| failure(&error))?;
            failpoint::reach("projector.noted").await;
            let put = self.listings.put_if_unchanged(&listing, stored.as_ref()).await;
            failpoint::reach("projector.put").await;
            if put.map_err(|error| failure(&error))? {
                measure_lag(&applied, self.clock.now());
                return Ok(());
            }
            metrics::counter!("vitrina_projection_races_total").increment(1);
            let again = self.listings.read(&[id], Consistency::Strong).await;
            stored = again.map_err(|error| failure(&error))?.remove(&id);
        }
        Err(Failure::Unavailable("lost every race against other projectors".to_owned()))
    }

    /// Records a category before its first listing, so that every listing is in a category that is
    /// known to be in use.
    async fn record_category(&self, listing: &ListingItem) -> Result<(), StoreError> {
        let Some(category) = listing.category.as_ref().filter(|_| listing.all_key.is_some()) else {
            return Ok(());
        };
        if self.noted.contains_key(category) {
            return Ok(());
        }
        match self.add_category(category).await {
            Err(error) if error.is_transient() => return Err(error),
            // The item of categories may be full, which must not keep a product from its buyers.
            Err(error) => {
                let error = telemetry::causes(&error);
                tracing::warn!(category, error, "a category cannot be recorded as in use");
                self.noted.insert(category.clone(), ());
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Adds a category to those in use, unless it is there. Reading all of them costs a fraction of a
    /// write, and most categories are there.
    async fn add_category(&self, category: &str) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        if self.noted.contains_key(category) {
            return Ok(());
        }
        for noted in categories::list(&self.listings).await? {
            self.noted.insert(noted, ());
        }
        if self.noted.contains_key(category) {
            return Ok(());
        }
        categories::add(&self.listings, category).await?;
        self.noted.insert(category.to_owned(), ());
        Ok(())
    }
}

impl Handler for Projector {
    type Event = Event;

    const SPAN: &'static str = "project";

    async fn handle(&self, deliveries: &[Delivery<Event>]) -> Vec<Result<(), Failure>> {
        let mut by_product: BTreeMap<ProductId, Vec<Arrival<'_>>> = BTreeMap::new();
        for Delivery { envelope, received_at } in deliveries {
            let arrival = Arrival { envelope, received_at: *received_at };
            by_product.entry(envelope.product_id()).or_default().push(arrival);
        }
        let ids: Vec<ProductId> = by_product.keys().copied().collect();
        let stored = self.listings.read(&ids, Consistency::Eventual).await;
        failpoint::reach("projector.read").await;
        let mut stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                let failed = failure(&error);
                return vec![Err(failed); deliveries.len()];
            }
        };
        let mut work = Vec::with_capacity(by_product.len());
        for (id, arrivals) in by_product {
            let stored = stored.remove(&id);
            work.push(async move { (id, self.project(id, stored, &arrivals).await) });
        }
        let results: HashMap<ProductId, Result<(), Failure>> =
            futures::stream::iter(work).buffer_unordered(CONCURRENT_PUTS).collect().await;
        deliveries
            .iter()
            .map(|delivery| results.get(&delivery.envelope.product_id()).cloned().unwrap_or(Ok(())))
            .collect()
    }
}

/// A cache of categories, each of which is forgotten after `kept_for`.
fn category_cache(kept_for: Duration) -> Cache<String, ()> {
    Cache::builder().max_capacity(CATEGORY_CACHE_SIZE).time_to_live(kept_for).build()
}

fn failure(error: &StoreError) -> Failure {
    let causes = telemetry::causes(error);
    if error.is_transient() { Failure::Unavailable(causes) } else { Failure::Failed(causes) }
}

/// Records how long the events that were just applied took to become visible.
fn measure_lag(applied: &[&Envelope<Event>], visible_at: DateTime<Utc>) {
    // A repair republishes an old change, so its age does not measure the delivery.
    for envelope in applied.iter().filter(|envelope| !envelope.republished) {
        let lag = (visible_at - envelope.time).to_std().unwrap_or_default();
        metrics::histogram!("vitrina_lag_seconds").record(lag);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn category_that_is_used_all_the_time_is_forgotten() {
        let kept_for = Duration::from_millis(100);
        let noted = category_cache(kept_for);
        noted.insert("shoes".to_owned(), ());
        // Real time: the cache has a clock of its own. The limit ends a hang.
        let begun = Instant::now();
        let mut used = begun;
        loop {
            let is_kept = noted.get("shoes").is_some();
            // Real time: on a busy machine, it may have been idle for long enough to be forgotten.
            let was_idle = used.elapsed() > kept_for / 2;
            used = Instant::now();
            if was_idle {
                noted.insert("shoes".to_owned(), ());
            } else if !is_kept {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "each use extends its life");
        }
    }

    #[test]
    fn few_of_any_number_of_categories_are_remembered() {
        let noted = category_cache(Duration::from_hours(1));
        for nth in 0..CATEGORY_CACHE_SIZE * 2 {
            noted.insert(nth.to_string(), ());
        }
        noted.run_pending_tasks();
        let count = noted.entry_count();
        assert!((9_000..=10_000).contains(&count), "{count}");
    }
}
