//! Creating products in batches, each once however often a batch has to be sent.

use std::time::Duration;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::client::{Client, ClientError, Problem};

/// Most products of one batch.
pub(crate) const MAX_ITEMS: usize = 100;

/// Batches that are under way at once.
pub(crate) const AT_ONCE: usize = 4;

/// How long single items are sent again whose store did not answer.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(1);

/// What became of one product.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) problem: Option<Problem>,
    /// Whether an earlier batch with this key had created it.
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

/// Creates `items`, 1 to [`MAX_ITEMS`] products as JSON, as the request that `key` names: an
/// outcome for each, in order.
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
        let unanswered = results.iter().any(|one| one.status == 503);
        if !unanswered || begun.elapsed() > PATIENCE {
            return Ok(results);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
