//! The read side: owns the listings in DynamoDB, updates them by projecting events, and serves them.
//!
//! Promise: a product read by its id never goes backwards. Lists come from indexes, and their
//! documentation states how stale they may be.

pub mod config;
mod http;
pub mod pages;
mod projection;
mod projector;
mod schema;
mod store;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use axum::Router;
use shared::contract::listing::{ListingItem, categories_key};
use shared::dynamodb::Item;
use shared::id::ProductId;
use shared::money::Currency;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use pages::Pages;

pub use http::{ListedProduct, PROBLEMS};
pub use projector::Projector;
pub use schema::SCHEMA;
pub use store::listings::StoreError;
pub use store::table;

/// Requests that may wait for a version at once; further ones get a 503.
const MAX_WAITERS: usize = 256;

/// The state of the service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    listings: store::listings::Listings,
    /// Default currency of lists.
    currency: Currency,
    waiters: Arc<Semaphore>,
    /// How long a request may wait for a version.
    max_wait: Duration,
    pages: Pages,
}

impl App {
    pub fn new(client: Client, table: &str, currency: Currency) -> Self {
        let listings = store::listings::Listings::new(client, table);
        let waiters = Arc::new(Semaphore::new(MAX_WAITERS));
        Self { listings, currency, waiters, max_wait: http::MAX_WAIT, pages: Pages::default() }
    }

    /// Lets a request wait this long for a version, instead of two seconds.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait, ..self }
    }

    /// Caches pages of lists for `kept_for`.
    #[must_use]
    pub fn with_kept_pages(self, kept_for: Duration) -> Self {
        Self { pages: Pages::new(kept_for), ..self }
    }

    /// Reads a listing as stored, for the trace of a product.
    pub async fn find_listing(&self, id: ProductId) -> Result<Option<ListingItem>, StoreError> {
        self.listings.find(id).await
    }
}

/// The key of an item that shows whether the table responds. Reading it costs half a unit, and it need
/// not exist.
pub fn probe_key() -> Item {
    categories_key()
}

/// The routes with their OpenAPI description.
pub fn routes() -> OpenApiRouter<App> {
    http::routes()
}

/// The routes, ready to be served.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
