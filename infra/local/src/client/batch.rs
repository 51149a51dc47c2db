//! Creates products in batches. Retrying a batch with the same key creates each product once.

use std::time::Duration;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::error::Problem;
use super::{Client, ClientError};

/// The most products in one batch.
pub(crate) const MAX_ITEMS: usize = 100;

/// Batches in flight at a time.
pub(crate) const CONCURRENCY: usize = 4;

/// How long to retry a batch in which the store did not respond for some items.
const TIMEOUT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(1);

/// The outcome for one product.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) problem: Option<Problem>,
    /// Whether an earlier batch with this key created it.
    #[serde(default)]
    pub(crate) replayed: bool,
}

#[derive(Serialize)]
struct Batch<'a> {
    items: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
}

/// Creates 1 to [`MAX_ITEMS`] products from JSON, with `key` as the idempotency key. Returns an
/// outcome for each item, in order.
pub(crate) async fn create(
    client: &Client,
    key: &str,
    items: &[Box<RawValue>],
) -> Result<Vec<Outcome>, ClientError> {
    let begun = Instant::now();
    loop {
        let Results { results } = client
            .call(Method::POST, "/v1/products/batch")
            .json(&Batch { items })
            .key(key)
            .send()
            .await?;
        let unavailable = results.iter().any(|one| one.status == 503);
        if !unavailable || begun.elapsed() > TIMEOUT {
            return Ok(results);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
