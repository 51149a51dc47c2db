//! From commit to visible: products that were created are looked for in the catalogue until they are
//! there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::{Connection, Observe, figure};

/// Products a second that are looked for in the catalogue.
const LOOKED_FOR: f64 = 50.0;

/// How many of them are looked for at once.
const LOOKERS: usize = 8;

/// The pause between two looks: what a lag is known to.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a product is looked for before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// A product that was created, and when its answer came.
type Created = (Uuid, Instant);

/// A product that is visible: when it was created, as a time after the beginning, and how long it
/// took from then on.
pub type Visible = (Duration, Duration);

/// Those who look.
#[derive(Debug)]
pub struct Lookers(Vec<tokio::task::JoinHandle<anyhow::Result<Vec<Visible>>>>);

impl Lookers {
    /// Looks for some of the products of a load that creates `rate` a second. The load shows them
    /// what is returned; they end when it is gone, and `found` is told what they have found.
    pub fn begin(
        api: SocketAddr,
        rate: f64,
        found: impl Fn(Uuid) + Clone + Send + 'static,
    ) -> (Self, Arc<Observe>) {
        let (tell, told) = mpsc::unbounded_channel::<Created>();
        let told = Arc::new(Mutex::new(told));
        let begun = Instant::now();
        let look = |_| tokio::spawn(look(api, Arc::clone(&told), begun, found.clone()));
        let lookers = (0..LOOKERS).map(look).collect();
        let step = (1..=1_000_u64).find(|step| rate / figure(*step) <= LOOKED_FOR);
        let step = step.unwrap_or(1_000);
        let observe = move |number: u64, body: &[u8]| {
            if number.is_multiple_of(step)
                && let Some(id) = id_in(body)
            {
                // Whoever looked for them may have failed, and says so.
                let _ = tell.send((id, Instant::now()));
            }
        };
        (Self(lookers), Arc::new(observe))
    }

    /// What became visible, once nobody creates any more and everything was found.
    pub async fn end(self) -> anyhow::Result<Vec<Visible>> {
        let mut visible = Vec::new();
        for looker in self.0 {
            visible.extend(looker.await??);
        }
        visible.sort();
        Ok(visible)
    }
}

/// The id at the beginning of a product.
fn id_in(body: &[u8]) -> Option<Uuid> {
    let rest = body.strip_prefix(br#"{"id":""#)?;
    Uuid::try_parse_ascii(rest.get(..36)?).ok()
}

/// Looks for one product after the other until it is there.
async fn look(
    api: SocketAddr,
    created: Arc<Mutex<mpsc::UnboundedReceiver<Created>>>,
    begun: Instant,
    found: impl Fn(Uuid),
) -> anyhow::Result<Vec<Visible>> {
    let mut connection = Connection::open(api).await?;
    let mut visible = Vec::new();
    loop {
        let next = created.lock().await.recv().await;
        let Some((id, committed)) = next else {
            return Ok(visible);
        };
        connection.request.clear();
        super::get(&format!("/v1/catalog/products/{id}"), &mut connection.request);
        while connection.call().await.context("looking for a product")? != 200 {
            anyhow::ensure!(committed.elapsed() < PATIENCE, "{id} does not become visible");
            tokio::time::sleep(PAUSE).await;
        }
        visible.push((committed - begun, committed.elapsed()));
        found(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_created_product_is_found() {
        let body = br#"{"id":"019b0000-0000-7000-8000-000000000007","seller_id":"x"}"#;
        assert_eq!(id_in(body), Some(Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0007)));
        assert_eq!(id_in(b"{}"), None);
    }
}
