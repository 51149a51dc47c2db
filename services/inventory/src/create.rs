//! Products that are created, one by one or together.

use std::collections::HashSet;

use shared::contract::product::Product;
use shared::failpoint;
use shared::problem::{self, Problem};
use shared::request::RequestContext;
use sqlx::PgPool;
use uuid::Uuid;

use crate::App;
use crate::http::SKU_TAKEN;
use crate::product::{self, CreateProduct};
use crate::store::idempotency::{self, KeyedRequest};
use crate::store::journal;
use crate::store::products::{self, NewRow, WriteError};

/// What became of a product that was to be created.
pub(crate) struct Created {
    pub(crate) product: Product,
    /// Whether an earlier request with the same key had created it.
    pub(crate) replayed: bool,
}

pub(crate) fn decide(
    app: &App,
    command: CreateProduct,
    seller_id: Uuid,
    request: RequestContext,
    key: Option<KeyedRequest>,
) -> Result<NewRow, Problem> {
    let now = app.clock.now();
    let (product, stock) = product::create(command, seller_id, app.ids.next(now), now)?;
    Ok(NewRow { product, stock, cause: app.cause(seller_id, request), key })
}

/// Inserts rows together, each with its own result. Where a sku comes again among them, what becomes
/// of the first decides.
pub(crate) async fn insert(
    pool: &PgPool,
    rows: Vec<NewRow>,
) -> Result<Vec<Result<Created, Problem>>, Problem> {
    let mut skus = HashSet::with_capacity(rows.len());
    let is_first: Vec<bool> = rows.iter().map(|row| skus.insert(&*row.product.sku)).collect();
    let (first, again): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(nth, _)| is_first[*nth]);
    let (places, rows): (Vec<usize>, Vec<NewRow>) = first.into_iter().unzip();
    let inserted = insert_distinct(pool, &rows).await?;
    let mut made = Vec::with_capacity(is_first.len());
    for ((nth, row), inserted) in places.into_iter().zip(rows).zip(inserted) {
        made.push((nth, outcome(pool, row, inserted).await));
    }
    for (nth, row) in again {
        let inserted = insert_distinct(pool, std::slice::from_ref(&row)).await? == [true];
        made.push((nth, outcome(pool, row, inserted).await));
    }
    made.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

/// Inserts rows that have neither a sku nor a key in common, and says of each whether it was.
async fn insert_distinct(pool: &PgPool, rows: &[NewRow]) -> Result<Vec<bool>, WriteError> {
    // Where somebody took a sku or used a key at the same moment, the next statement sees it.
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

pub(crate) async fn outcome(
    pool: &PgPool,
    row: NewRow,
    inserted: bool,
) -> Result<Created, Problem> {
    if inserted {
        Ok(Created { product: row.product, replayed: false })
    } else {
        explain(pool, row).await
    }
}

/// Why a row was not inserted: its key was used before, and then the first answer is given again;
/// or its sku is taken.
async fn explain(pool: &PgPool, row: NewRow) -> Result<Created, Problem> {
    let taken =
        || SKU_TAKEN.because(format!("another of your products has the sku {:?}", row.product.sku));
    let Some(key) = &row.key else {
        return Err(taken());
    };
    let Some(used) = idempotency::find(pool, row.cause.actor, key).await? else {
        return Err(taken());
    };
    if used.request_hash != key.hash {
        return Err(problem::IDEMPOTENCY_KEY_REUSED.because(""));
    }
    let product = journal::find_product(pool, used.aggregate_id, used.version).await?;
    let product =
        product.ok_or_else(|| Problem::internal("the journal lost what a key points at"))?;
    Ok(Created { product, replayed: true })
}
