//! Buckets and their leases: a bucket belongs to the worker that claimed it until the lease ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::contract::sync_feed::BUCKETS;
use shared::id::{LeaseId, ProductId, RunId};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::error::StoreError;
use crate::store::runs::Current;

/// A claimed bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    pub(crate) bucket: i32,
    /// The last product that the run has compared in it.
    pub(crate) resume_after: Option<ProductId>,
    /// When it was last compared to the end.
    pub(crate) checked_at: Option<DateTime<Utc>>,
}

/// When the latest credible lease ends, if one that is taken now ends at `until`. The clock of another
/// worker may be ahead, but not by a whole lease: a lease that ends later was taken before the clock was
/// set back, and has ended.
fn latest_lease(now: DateTime<Utc>, until: DateTime<Utc>) -> DateTime<Utc> {
    until.checked_add_signed(until - now).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Claims up to `limit` buckets that `run` has not done, beginning with the least recently compared.
pub(crate) async fn claim(
    pool: &PgPool,
    run: &Current,
    lease: LeaseId,
    limit: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Claimed>, StoreError> {
    sqlx::query_as!(
        Claimed,
        "with due as (
             select bucket from sync.buckets
             where (run_id is distinct from $1 or not done)
               and (lease_until is null or lease_until <= $2 or lease_until > $6)
             order by checked_at nulls first, bucket
             limit $3
             for update skip locked)
         update sync.buckets b
         set resume_after = case b.run_id when $1 then b.resume_after end,
             run_id = $1, done = false, lease = $4, lease_until = $5
         from due where b.bucket = due.bucket
         returning b.bucket, b.resume_after, b.checked_at",
        run.id as RunId,
        now,
        limit,
        lease as LeaseId,
        until,
        latest_lease(now, until),
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres("claiming buckets in sync.buckets"))
}

/// How many buckets were compared within `pause` of now, or are being compared. A worker whose clock is
/// ahead compares in the future; what is further away was compared before the clock was set back.
pub(crate) async fn count_recent(
    pool: &PgPool,
    pause: Duration,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<i64, StoreError> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from sync.buckets
           where (checked_at > $1 and checked_at < $2) or (lease_until > $3 and lease_until <= $4)"#,
        now - pause,
        now + pause,
        now,
        latest_lease(now, until),
    )
    .fetch_one(pool)
    .await
    .map_err(StoreError::postgres("counting recently compared buckets in sync.buckets"))
}

/// Begins the transaction that releases a bucket. Its commit does not wait for the disk: a crash undoes
/// it as a whole, repairs included, and the bucket is compared again. If a repair was published before
/// the crash, its position is above every allocated one, which the next pass handles.
pub(crate) async fn begin_release(
    pool: &PgPool,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    let mut transaction = pool
        .begin()
        .await
        .map_err(StoreError::postgres("beginning a transaction on sync.buckets"))?;
    sqlx::query("set local synchronous_commit to off")
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::postgres("setting synchronous_commit for sync.buckets"))?;
    Ok(transaction)
}

/// Releases a bucket: done, or with the product to resume after. Returns whether the lease still held.
pub(crate) async fn release(
    connection: &mut PgConnection,
    bucket: i32,
    lease: LeaseId,
    resume_after: Option<ProductId>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let released = sqlx::query!(
        "update sync.buckets
         set lease = null, lease_until = null, resume_after = $3, done = $3::uuid is null,
             checked_at = case when $3::uuid is null then $4 else checked_at end
         where bucket = $1 and lease = $2",
        bucket,
        lease as LeaseId,
        resume_after as Option<ProductId>,
        now,
    )
    .execute(connection)
    .await
    .map_err(StoreError::postgres(format!("releasing bucket {bucket} in sync.buckets")))?;
    Ok(released.rows_affected() == 1)
}

/// Whether `run` has compared all buckets.
pub(crate) async fn are_done(pool: &PgPool, run: &Current) -> Result<bool, StoreError> {
    let done = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sync.buckets where run_id = $1 and done"#,
        run.id as RunId,
    )
    .fetch_one(pool)
    .await
    .map_err(StoreError::postgres(format!(
        "counting the buckets done for run {} in sync.buckets",
        run.id
    )))?;
    Ok(done == i64::from(BUCKETS))
}

/// When the least recently compared bucket was compared, or when the first run was requested if a
/// bucket never was.
pub(crate) async fn oldest_check(pool: &PgPool) -> Result<Option<DateTime<Utc>>, StoreError> {
    sqlx::query_scalar!(
        "select min(coalesce(checked_at, (select min(requested_at) from sync.runs)))
         from sync.buckets",
    )
    .fetch_one(pool)
    .await
    .map_err(StoreError::postgres("reading the oldest comparison in sync.buckets"))
}
