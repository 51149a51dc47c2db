//! Changes stock: lock it, decide, and write it with its event. A change behind a lock loses no
//! race, so no client is refused because another came first.

use shared::contract::stock::Stock;
use shared::failpoint;
use shared::http::request::RequestContext;
use shared::id::{ProductId, Seller, UserId};
use sqlx::PgConnection;

use crate::App;
use crate::stock::{self as rules, Refusal};
use crate::store::idempotency::{self, KeyedRequest};
use crate::store::{Cause, StoreError, doing, journal, stock};
use shared::expected::Expected;

/// Why stock was not changed.
#[derive(Debug)]
pub(crate) enum StockError {
    NotFound,
    Refused(Refusal),
    /// The idempotency key was used with another body.
    KeyReused,
    Store(StoreError),
    /// The journal has no entry for the stock that a key was used for.
    NoEntry,
    /// A locked stock had another version when it was written.
    LockIgnored,
}

impl From<Refusal> for StockError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for StockError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An adjustment of the stock of a product.
pub(crate) struct Adjustment {
    pub(crate) seller: Seller,
    pub(crate) id: ProductId,
    pub(crate) delta: i64,
    pub(crate) reason: String,
    pub(crate) request: RequestContext,
    pub(crate) key: Option<KeyedRequest>,
}

/// An adjusted stock.
pub(crate) struct Adjusted {
    pub(crate) stock: Stock,
    /// Whether an earlier request with the same key adjusted it.
    pub(crate) replayed: bool,
}

/// Sets the pieces on hand and returns the stock.
pub(crate) async fn set(
    app: &App,
    seller: Seller,
    id: ProductId,
    on_hand: i64,
    expected: &Expected,
    request: RequestContext,
) -> Result<Stock, StockError> {
    let cause = app.cause(seller.user_id, request);
    let begun = app.pool.begin().await;
    let mut transaction = begun.map_err(doing("beginning a change of inventory.stock"))?;
    let current =
        stock::lock(&mut transaction, seller.id, id).await?.ok_or(StockError::NotFound)?;
    failpoint::reach("set_stock.locked").await;
    let Some(counted) = rules::set(&current, on_hand, expected, app.clock.now())? else {
        return Ok(current);
    };
    if !stock::update(&mut transaction, id, &counted, "set", &cause, None).await? {
        return Err(StockError::LockIgnored);
    }
    failpoint::reach("set_stock.written").await;
    let committed = transaction.commit().await;
    committed.map_err(doing("committing a change of inventory.stock"))?;
    failpoint::reach("set_stock.committed").await;
    app.committed.notify_one();
    Ok(counted)
}

/// Adjusts the pieces on hand, once for each key.
pub(crate) async fn adjust(app: &App, adjustment: Adjustment) -> Result<Adjusted, StockError> {
    let Adjustment { seller, id, delta, reason, request, key } = adjustment;
    let key = key.as_ref();
    let cause = Cause { reason: Some(reason), ..app.cause(seller.user_id, request) };
    let begun = app.pool.begin().await;
    let mut transaction = begun.map_err(doing("beginning a change of inventory.stock"))?;
    if let Some(adjusted) = replay(&mut transaction, seller.user_id, key).await? {
        return Ok(adjusted);
    }
    let current =
        stock::lock(&mut transaction, seller.id, id).await?.ok_or(StockError::NotFound)?;
    failpoint::reach("adjust_stock.locked").await;
    // The previous holder of the lock may have been the same request.
    if let Some(adjusted) = replay(&mut transaction, seller.user_id, key).await? {
        return Ok(adjusted);
    }
    let adjusted = rules::adjust(&current, delta, app.clock.now())?;
    let stored = stock::update(&mut transaction, id, &adjusted, "adjusted", &cause, key).await?;
    failpoint::reach("adjust_stock.written").await;
    let committed = transaction.commit().await;
    committed.map_err(doing("committing a change of inventory.stock"))?;
    failpoint::reach("adjust_stock.committed").await;
    if stored {
        app.committed.notify_one();
        return Ok(Adjusted { stock: adjusted, replayed: false });
    }
    // The row was locked, so only the key can have prevented the write: a concurrent copy of this
    // request used it.
    let connection = app.pool.acquire().await;
    let mut connection = connection.map_err(doing("connecting to read inventory.idempotency"))?;
    replay(&mut connection, seller.user_id, key).await?.ok_or(StockError::LockIgnored)
}

/// Returns what the key was used for, if it was used before.
///
/// It reads over the caller's connection: with the lock held, waiting for a second connection would
/// deadlock once every other connection waits for that lock.
async fn replay(
    connection: &mut PgConnection,
    user_id: UserId,
    key: Option<&KeyedRequest>,
) -> Result<Option<Adjusted>, StockError> {
    let Some(key) = key else { return Ok(None) };
    let Some(used) = idempotency::find(&mut *connection, user_id, key).await? else {
        return Ok(None);
    };
    if used.request_hash != key.hash {
        return Err(StockError::KeyReused);
    }
    let stock = journal::find_stock(&mut *connection, used.aggregate_id, used.version).await?;
    Ok(Some(Adjusted { stock: stock.ok_or(StockError::NoEntry)?, replayed: true }))
}
