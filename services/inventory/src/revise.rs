//! Revises a product: load, decide, write with its event, and decide again after a lost race.

use shared::failpoint;
use shared::http::request::RequestContext;
use shared::id::{ProductId, Seller};

use crate::App;
use crate::event::EventRef;
use crate::product::{Product, Refusal};
use crate::store::{StoreError, WriteError, doing, products};

/// How many races are lost before the product is locked.
const MAX_RACES: usize = 3;

/// A change of an existing product.
pub(crate) struct Revision {
    pub(crate) seller: Seller,
    pub(crate) id: ProductId,
    /// Whether the product may be a deleted one.
    pub(crate) including_deleted: bool,
    /// The journal's word for the change.
    pub(crate) change: &'static str,
    pub(crate) request: RequestContext,
}

/// Why a product was not revised.
#[derive(Debug)]
pub(crate) enum ReviseError {
    NotFound,
    Refused(Refusal),
    Write(WriteError),
    /// A locked product had another version when it was written.
    LockIgnored,
}

impl From<Refusal> for ReviseError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<WriteError> for ReviseError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<StoreError> for ReviseError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

impl Revision {
    /// Replaces a product by what `decide` returns, and returns it; `None` leaves it as it is.
    ///
    /// After a lost race the decision is made again, the last time behind a lock. So a request that
    /// names a version is refused then, and one that accepts any version always succeeds.
    pub(crate) async fn apply(
        self,
        app: &App,
        decide: impl Fn(&Product) -> Result<Option<Product>, Refusal>,
    ) -> Result<Product, ReviseError> {
        let Self { seller, id, including_deleted, change, request } = self;
        let cause = app.cause(seller.user_id, request);
        for _ in 0..MAX_RACES {
            let found = if including_deleted {
                products::find_including_deleted(&app.pool, seller.id, id).await?
            } else {
                products::find(&app.pool, seller.id, id).await?
            };
            let product = found.ok_or(ReviseError::NotFound)?;
            let Some(revised) = decide(&product)? else { return Ok(product) };
            let event = EventRef::changed(&revised);
            failpoint::reach("change.read").await;
            if products::update(&app.pool, &revised, &event, change, &cause, including_deleted)
                .await?
            {
                failpoint::reach("change.committed").await;
                app.committed.notify_one();
                return Ok(revised);
            }
        }
        let begun = app.pool.begin().await;
        let mut transaction = begun.map_err(doing("beginning a change of inventory.products"))?;
        let locked = products::lock(&mut transaction, id).await?;
        failpoint::reach("change.locked").await;
        let own = locked.filter(|product| {
            product.seller_id == seller.id && (including_deleted || product.deleted_at.is_none())
        });
        let product = own.ok_or(ReviseError::NotFound)?;
        let Some(revised) = decide(&product)? else { return Ok(product) };
        let (before, event) = (product.version, EventRef::changed(&revised));
        let stored = products::replace(
            &mut *transaction,
            before,
            &revised,
            &event,
            change,
            &cause,
            including_deleted,
        );
        if !stored.await? {
            return Err(ReviseError::LockIgnored);
        }
        failpoint::reach("change.written_behind_lock").await;
        let committed = transaction.commit().await;
        committed.map_err(doing("committing a change of inventory.products"))?;
        failpoint::reach("change.committed_behind_lock").await;
        app.committed.notify_one();
        Ok(revised)
    }
}
