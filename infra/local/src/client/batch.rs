//! Creates products in batches. Retrying a batch with the same key creates each product once.

use std::time::Duration;

use axum::http::Method;
use inventory::{BatchResults, ItemResult};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Client, ClientError};

/// The most products in one batch.
pub(crate) const MAX_ITEMS: usize = 100;

/// Batches in flight at a time.
pub(crate) const CONCURRENCY: usize = 4;

/// How long to retry a batch in which the store did not respond for some items.
const TIMEOUT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Batch<'a> {
    items: &'a [Box<RawValue>],
}

/// Creates 1 to [`MAX_ITEMS`] products from JSON, with `key` as the idempotency key. Returns a
/// result for each item, in order.
pub(crate) async fn create(
    client: &Client,
    key: &str,
    items: &[Box<RawValue>],
) -> Result<Vec<ItemResult>, ClientError> {
    let begun = Instant::now();
    loop {
        let BatchResults { results } = client
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
