//! The projector: the only writer of listings.
//!
//! It reads the stored listings of a batch, folds the events in by the pure projection, and puts
//! each changed listing on the condition that both fences are still those that it read. Who loses
//! the race reads again. One write for many events, none for a duplicate.
//!
//! The first read may be a little behind, which costs half: what has come to an older state has come
//! to the newest, too, so nothing is taken for done that is not, and a put that rests on an older
//! state loses the race.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use moka::sync::Cache;
use shared::clock::Clock;
use shared::contract::inventory::Event;
use shared::contract::listing::ListingItem;
use shared::dynamodb::Consistency;
use shared::failpoint;
use shared::host::intake::{Delivery, Failure, Handler};
use shared::telemetry;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::projection::project;
use crate::store::categories;
use crate::store::listings::{Listings, StoreError, Stored};

/// Puts that are under way at once.
const CONCURRENT_PUTS: usize = 16;

/// Races that may be lost in a row. Somebody else wins each of them, so the listing moves on.
const MAX_RACES: usize = 10;

/// Categories that are remembered to be noted already.
const CATEGORIES_REMEMBERED: u64 = 10_000;

/// How long a category is taken for noted: reconciliation drops those that nothing is in, and the
/// table may be made anew.
const NOTED_FOR: Duration = Duration::from_secs(10);

/// Projects events into listings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Projector {
    listings: Listings,
    clock: Clock,
    noted: Cache<String, ()>,
    /// Held by whoever looks which categories are noted: the others of its batch wait for what it finds.
    looking: Arc<Mutex<()>>,
}

impl Projector {
    pub fn new(client: Client, table: &str, clock: Clock) -> Self {
        let noted =
            Cache::builder().max_capacity(CATEGORIES_REMEMBERED).time_to_live(NOTED_FOR).build();
        Self { listings: Listings::new(client, table), clock, noted, looking: Arc::default() }
    }

    /// Projects the events of one product, until it wins or has nothing new to say.
    async fn project(
        &self,
        id: Uuid,
        mut stored: Option<Stored>,
        deliveries: &[&Delivery<Event>],
    ) -> Result<(), Failure> {
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            let before = stored.as_ref().map(|stored| &stored.item);
            let Some(listing) = project(before, id, deliveries, now) else {
                return Ok(());
            };
            self.note_category(&listing).await.map_err(|error| failure(&error))?;
            failpoint::reach("projector.noted").await;
            let put = self.listings.put_if_unchanged(&listing, stored.as_ref()).await;
            failpoint::reach("projector.put").await;
            if put.map_err(|error| failure(&error))? {
                measure_lag(&listing, deliveries, self.clock.now());
                return Ok(());
            }
            metrics::counter!("vitrina_projection_races_total").increment(1);
            let again = self.listings.read(&[id], Consistency::Strong).await;
            stored = again.map_err(|error| failure(&error))?.remove(&id);
        }
        Err(Failure::Unavailable("other projectors were faster each time".to_owned()))
    }

    /// Notes a category before its first listing, so that no listing is in a category that is not
    /// known to be in use.
    async fn note_category(&self, listing: &ListingItem) -> Result<(), StoreError> {
        let Some(category) = listing.category.as_ref().filter(|_| listing.all_key.is_some()) else {
            return Ok(());
        };
        if self.noted.contains_key(category) {
            return Ok(());
        }
        match self.add_category(category).await {
            Err(error) if error.is_transient() => return Err(error),
            // The set of categories may be full: that must not keep a product from its buyers.
            Err(error) => {
                let error = telemetry::causes(&error);
                tracing::warn!(category, error, "a category is not listed among those in use");
                self.noted.insert(category.clone(), ());
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Adds a category to those in use, unless it is there. To read all of them costs a small part of
    /// a write, and most are.
    async fn add_category(&self, category: &str) -> Result<(), StoreError> {
        let _looking = self.looking.lock().await;
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
        let mut by_product: BTreeMap<Uuid, Vec<&Delivery<Event>>> = BTreeMap::new();
        for delivery in deliveries {
            by_product.entry(delivery.envelope.subject).or_default().push(delivery);
        }
        let ids: Vec<Uuid> = by_product.keys().copied().collect();
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
        for (id, deliveries) in by_product {
            let stored = stored.remove(&id);
            work.push(async move { (id, self.project(id, stored, &deliveries).await) });
        }
        let results: HashMap<Uuid, Result<(), Failure>> =
            futures::stream::iter(work).buffer_unordered(CONCURRENT_PUTS).collect().await;
        deliveries
            .iter()
            .map(|delivery| results.get(&delivery.envelope.subject).cloned().unwrap_or(Ok(())))
            .collect()
    }
}

fn failure(error: &StoreError) -> Failure {
    let causes = telemetry::causes(error);
    if error.is_transient() { Failure::Unavailable(causes) } else { Failure::Failed(causes) }
}

/// Measures how long it took what `listing` now shows to become visible.
fn measure_lag(listing: &ListingItem, deliveries: &[&Delivery<Event>], visible_at: DateTime<Utc>) {
    let position = |delivery: &Delivery<Event>| delivery.envelope.position;
    let has_come = |position| listing.hops.iter().any(|hop| hop.position == position);
    // A repair announces an old change: its age says nothing about the way.
    let fresh = deliveries.iter().filter(|delivery| !delivery.envelope.republished);
    for delivery in fresh.filter(|delivery| has_come(position(delivery))) {
        let lag = (visible_at - delivery.envelope.time).to_std().unwrap_or_default();
        metrics::histogram!("vitrina_lag_seconds").record(lag);
    }
}
