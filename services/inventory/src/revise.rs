//! Changes of a product that is there.

use shared::contract::product::Product;
use shared::database;
use shared::failpoint;
use shared::problem::Problem;
use shared::request::RequestContext;
use uuid::Uuid;

use crate::App;
use crate::product::Refusal;
use crate::store::products;

/// How often somebody else may be faster before the product is locked.
const MAX_RACES: usize = 3;

/// A change of a product that is there.
pub(crate) struct Revision {
    pub(crate) seller_id: Uuid,
    pub(crate) id: Uuid,
    /// Whether a deleted product counts as there.
    pub(crate) even_deleted: bool,
    /// The journal's word for it.
    pub(crate) change: &'static str,
    pub(crate) request: RequestContext,
}

impl Revision {
    /// Makes of a product what `decide` says, unless that is nothing new. Where somebody else was
    /// faster it is decided anew, in the end behind a lock: so a named version is refused then, and
    /// any version is not.
    pub(crate) async fn make(
        self,
        app: &App,
        decide: impl Fn(&Product) -> Result<Option<Product>, Refusal>,
    ) -> Result<Product, Problem> {
        let cause = app.cause(self.seller_id, self.request);
        for _ in 0..MAX_RACES {
            let found = if self.even_deleted {
                products::find_even_deleted(&app.pool, self.seller_id, self.id).await?
            } else {
                products::find(&app.pool, self.seller_id, self.id).await?
            };
            let product = found.ok_or_else(Problem::not_found)?;
            let Some(revised) = decide(&product)? else { return Ok(product) };
            failpoint::reach("change.read").await;
            if products::update(&app.pool, &revised, self.change, &cause, self.even_deleted).await?
            {
                failpoint::reach("change.committed").await;
                app.committed.notify_one();
                return Ok(revised);
            }
        }
        let mut transaction = database::begin(&app.pool).await?;
        let locked = products::lock(&mut transaction, self.id).await?;
        failpoint::reach("change.locked").await;
        let own = locked.filter(|product| {
            product.seller_id == self.seller_id
                && (self.even_deleted || product.deleted_at.is_none())
        });
        let product = own.ok_or_else(Problem::not_found)?;
        let Some(revised) = decide(&product)? else { return Ok(product) };
        let (before, with_stock) = (product.version, self.even_deleted);
        if !products::replace(&mut *transaction, before, &revised, self.change, &cause, with_stock)
            .await?
        {
            return Err(Problem::internal("a locked product was changed by somebody else"));
        }
        failpoint::reach("change.written_behind_lock").await;
        transaction.commit().await?;
        failpoint::reach("change.committed_behind_lock").await;
        app.committed.notify_one();
        Ok(revised)
    }
}
