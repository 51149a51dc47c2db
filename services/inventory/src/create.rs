//! Creates products, one at a time or in batches: decide, write with the event, and explain each
//! row that was not written.

use std::collections::HashSet;

use shared::failpoint;
use shared::http::request::RequestContext;
use shared::id::Seller;
use sqlx::PgPool;

use crate::App;
use crate::event::EventRef;
use crate::product::{self, CreateProduct, Product, Refusal};
use crate::store::idempotency::{self, KeyedRequest};
use crate::store::products::{self, NewRow};
use crate::store::{StoreError, WriteError, journal, to_json};

/// A created product.
pub(crate) struct Created {
    pub(crate) product: Product,
    /// Whether an earlier request with the same key created it.
    pub(crate) replayed: bool,
}

/// Why a product was not created.
#[derive(Debug)]
pub(crate) enum CreateError {
    Refused(Refusal),
    SkuTaken {
        sku: String,
    },
    /// The idempotency key was used with another body.
    KeyReused,
    Write(WriteError),
    /// The journal has no entry for the product that a key was used for.
    NoEntry,
}

impl From<Refusal> for CreateError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<WriteError> for CreateError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<StoreError> for CreateError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}

/// Creates a product, together with others that are created at the same time.
pub(crate) async fn create_one(app: &App, row: NewRow) -> Result<Created, CreateError> {
    let (row, inserted) = app.creates.insert(row).await?;
    app.committed.notify_one();
    outcome(&app.pool, row, inserted).await
}

/// Decides what a command creates, and encodes the event that announces it.
pub(crate) fn decide(
    app: &App,
    command: CreateProduct,
    seller: Seller,
    request: RequestContext,
    key: Option<KeyedRequest>,
) -> Result<NewRow, CreateError> {
    let now = app.clock.now();
    let (product, stock) = product::create(command, seller.id, app.ids.next(now), now)?;
    let event = to_json(&EventRef::created(&product, &stock))?;
    Ok(NewRow { product, stock, event, cause: app.cause(seller.user_id, request), key })
}

/// Creates the products of a batch, each with its own result, in order. If several rows have one
/// SKU, the others are written after the first, and fail only if it was written.
pub(crate) async fn create_batch(
    pool: &PgPool,
    rows: Vec<NewRow>,
) -> Result<Vec<Result<Created, CreateError>>, WriteError> {
    let mut skus = HashSet::with_capacity(rows.len());
    let is_first: Vec<bool> = rows.iter().map(|row| skus.insert(&*row.product.sku)).collect();
    let (first, again): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(nth, _)| is_first[*nth]);
    let (places, rows): (Vec<usize>, Vec<NewRow>) = first.into_iter().unzip();
    let inserted = insert_distinct(pool, &rows).await?;
    let mut results = Vec::with_capacity(is_first.len());
    for ((nth, row), inserted) in places.into_iter().zip(rows).zip(inserted) {
        results.push((nth, outcome(pool, row, inserted).await));
    }
    for (nth, row) in again {
        let inserted = insert_distinct(pool, std::slice::from_ref(&row)).await? == [true];
        results.push((nth, outcome(pool, row, inserted).await));
    }
    results.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Inserts rows that have neither a SKU nor a key in common, and returns whether each was inserted.
async fn insert_distinct(pool: &PgPool, rows: &[NewRow]) -> Result<Vec<bool>, WriteError> {
    // If a concurrent request took a SKU or used a key, the next statement sees it.
    for _ in 0..2 {
        let inserted = products::insert(pool, rows).await;
        failpoint::reach("batch.committed").await;
        match inserted {
            Err(WriteError::SkuTaken | WriteError::KeyUsed) => {}
            result => return result,
        }
    }
    let mut inserted = Vec::with_capacity(rows.len());
    for row in rows {
        inserted.push(match products::insert(pool, std::slice::from_ref(row)).await {
            Err(WriteError::SkuTaken | WriteError::KeyUsed) => false,
            result => result? == [true],
        });
    }
    Ok(inserted)
}

async fn outcome(pool: &PgPool, row: NewRow, inserted: bool) -> Result<Created, CreateError> {
    if inserted {
        Ok(Created { product: row.product, replayed: false })
    } else {
        explain(pool, row).await
    }
}

/// Explains why a row was not inserted: its key was used before, so the first response is replayed,
/// or its SKU is taken.
async fn explain(pool: &PgPool, row: NewRow) -> Result<Created, CreateError> {
    let taken = || CreateError::SkuTaken { sku: row.product.sku.clone() };
    let Some(key) = &row.key else {
        return Err(taken());
    };
    let Some(used) = idempotency::find(pool, row.cause.actor, key).await? else {
        return Err(taken());
    };
    if used.request_hash != key.hash {
        return Err(CreateError::KeyReused);
    }
    let product = journal::find_product(pool, used.aggregate_id, used.version).await?;
    Ok(Created { product: product.ok_or(CreateError::NoEntry)?, replayed: true })
}
