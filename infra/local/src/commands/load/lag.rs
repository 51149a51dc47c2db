//! The lag from commit to visible: polls the catalogue for created products until they appear.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use shared::id::ProductId;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::connection::{Connection, get};
use super::generator::Observe;
use super::number::figure;

/// The most products a second to poll for.
const SAMPLED_RATE: f64 = 50.0;

/// Products that are polled for at a time.
const POLLERS: usize = 8;

/// The pause between two polls, which is the precision of a lag.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How long to poll before a product counts as lost.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A created product, and when its response arrived.
type Created = (ProductId, Instant);

/// A visible product: when it was created, counted from the start, and its lag.
pub type Visible = (Duration, Duration);

/// The tasks that poll the catalogue.
#[derive(Debug)]
pub struct LagPollers(Vec<tokio::task::JoinHandle<anyhow::Result<Vec<Visible>>>>);

impl LagPollers {
    /// Starts to poll for a sample of the products of a load that creates `rate` a second. The load
    /// passes its responses to the returned observer; polling ends once that is dropped. `found` is
    /// called with each visible product.
    pub fn begin(
        api: SocketAddr,
        rate: f64,
        found: impl Fn(ProductId) + Clone + Send + 'static,
    ) -> (Self, Arc<Observe>) {
        let (sender, receiver) = mpsc::unbounded_channel::<Created>();
        let receiver = Arc::new(Mutex::new(receiver));
        let begun = Instant::now();
        let spawn = |_| tokio::spawn(poll(api, Arc::clone(&receiver), begun, found.clone()));
        let pollers = (0..POLLERS).map(spawn).collect();
        let step = (1..=1_000_u64).find(|step| rate / figure(*step) <= SAMPLED_RATE);
        let step = step.unwrap_or(1_000);
        let observe = move |number: u64, body: &[u8]| {
            if number.is_multiple_of(step)
                && let Some(id) = id_in(body)
            {
                // If the pollers have failed, `end` reports it.
                let _ = sender.send((id, Instant::now()));
            }
        };
        (Self(pollers), Arc::new(observe))
    }

    /// The visible products, after the observer is dropped and all of the sample were found.
    pub async fn end(self) -> anyhow::Result<Vec<Visible>> {
        let mut visible = Vec::new();
        for poller in self.0 {
            visible.extend(poller.await??);
        }
        visible.sort();
        Ok(visible)
    }
}

/// The id at the start of a product's JSON.
fn id_in(body: &[u8]) -> Option<ProductId> {
    let rest = body.strip_prefix(br#"{"id":""#)?;
    Uuid::try_parse_ascii(rest.get(..36)?).ok().map(ProductId::from_uuid)
}

/// Polls for one product after another until each is visible.
async fn poll(
    api: SocketAddr,
    created: Arc<Mutex<mpsc::UnboundedReceiver<Created>>>,
    begun: Instant,
    found: impl Fn(ProductId),
) -> anyhow::Result<Vec<Visible>> {
    let mut connection = Connection::open(api).await?;
    let mut visible = Vec::new();
    loop {
        let next = created.lock().await.recv().await;
        let Some((id, committed)) = next else {
            return Ok(visible);
        };
        connection.request.clear();
        get(&format!("/v1/catalog/products/{id}"), &mut connection.request);
        while connection.call().await.context("polling for a product")? != 200 {
            anyhow::ensure!(committed.elapsed() < TIMEOUT, "{id} did not become visible");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        visible.push((committed - begun, committed.elapsed()));
        found(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_from_a_created_product() {
        let body = br#"{"id":"019b0000-0000-7000-8000-000000000007","seller_id":"x"}"#;
        assert_eq!(
            id_in(body),
            Some(ProductId::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0007))
        );
        assert_eq!(id_in(b"{}"), None);
    }
}
