//! Runs: passes over all buckets, and their findings.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::contract::sync_feed::BUCKETS;
use shared::id::{RunId, UserId};
use sqlx::{PgConnection, PgPool};

use crate::error::StoreError;
use crate::findings::Findings;

/// How long finished runs are kept.
const KEPT: TimeDelta = TimeDelta::days(90);

/// The run being worked on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) id: RunId,
    pub(crate) deep: bool,
    /// A background pass, which runs slowly on purpose.
    pub(crate) is_background: bool,
}

/// A pass over all products: its progress and its findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Reconciliation)]
pub struct Run {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    #[schema(inline)]
    pub state: State,
    /// Whether the stored documents themselves are hashed again.
    pub deep: bool,
    pub requested_at: DateTime<Utc>,
    /// Absent for a background pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    pub requested_by: Option<UserId>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    #[schema(inline)]
    pub progress: BucketProgress,
    #[serde(flatten)]
    pub findings: Findings,
    /// The read units that DynamoDB charged.
    pub read_units: f64,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BucketProgress {
    pub buckets_done: i32,
    pub buckets: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for earlier runs.
    Pending,
    Running,
    Finished,
    /// Replaced by a requested run, which compares everything that this one had left.
    Superseded,
}

struct Row {
    id: RunId,
    requested_at: DateTime<Utc>,
    requested_by: Option<UserId>,
    deep: bool,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    superseded: bool,
    buckets_done: i32,
    compared: i64,
    missing: i64,
    stale: i64,
    ahead: i64,
    extra: i64,
    altered: i64,
    stock: i64,
    moving: i64,
    repaired: i64,
    oldest_divergence: Option<DateTime<Utc>>,
    read_units: f64,
}

impl From<Row> for Run {
    fn from(row: Row) -> Self {
        let state = match (row.started_at, row.finished_at) {
            _ if row.superseded => State::Superseded,
            (_, Some(_)) => State::Finished,
            (Some(_), None) => State::Running,
            (None, None) => State::Pending,
        };
        Self {
            id: row.id,
            state,
            deep: row.deep,
            requested_at: row.requested_at,
            requested_by: row.requested_by,
            started_at: row.started_at,
            finished_at: row.finished_at,
            progress: BucketProgress {
                buckets_done: row.buckets_done,
                buckets: i32::from(BUCKETS),
            },
            findings: Findings {
                compared: row.compared,
                missing: row.missing,
                stale: row.stale,
                ahead: row.ahead,
                extra: row.extra,
                altered: row.altered,
                stock: row.stock,
                moving: row.moving,
                repaired: row.repaired,
                oldest_divergence: row.oldest_divergence,
            },
            read_units: row.read_units,
        }
    }
}

/// Requests a run. It supersedes the background pass, compares everything that the pass had left, and
/// is deep if the pass was.
pub(crate) async fn request(
    pool: &PgPool,
    id: RunId,
    by: UserId,
    deep: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "with background as (
             update sync.runs set finished_at = $4, superseded = true
             where requested_by is null and finished_at is null
             returning id, deep),
         met as (
             delete from sync.run_categories where run_id in (select id from background))
         insert into sync.runs (id, requested_by, deep, requested_at)
         select $1, $2, $3 or exists (select from background where deep), $4",
        id as RunId,
        by as UserId,
        deep,
        now,
    )
    .execute(pool)
    .await
    .map_err(StoreError::postgres(format!("inserting run {id} into sync.runs")))?;
    Ok(())
}

/// Begins a background pass, unless another worker already did. It is deep if no deep run finished in
/// `deep_if_none`. That ends later than now, because the clock of another worker may be ahead; a run that
/// finished even later did so before the clock was set back.
pub(crate) async fn begin_background(
    pool: &PgPool,
    id: RunId,
    now: DateTime<Utc>,
    deep_if_none: RangeInclusive<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into sync.runs (id, deep, requested_at)
         select $1, not exists (
             select from sync.runs
             where deep and not superseded and finished_at between $3 and $4), $2
         on conflict do nothing",
        id as RunId,
        now,
        deep_if_none.start(),
        deep_if_none.end(),
    )
    .execute(pool)
    .await
    .map_err(StoreError::postgres(format!("inserting background run {id} into sync.runs")))?;
    Ok(())
}

/// The run to work on, marked as started: the earliest requested run, or else the background pass.
pub(crate) async fn current(
    pool: &PgPool,
    now: DateTime<Utc>,
) -> Result<Option<Current>, StoreError> {
    let found = sqlx::query!(
        r#"select id, deep, requested_by is null as "is_background!", started_at
           from sync.runs
           where finished_at is null
           order by requested_by is null, requested_at, id
           limit 1"#,
    )
    .fetch_optional(pool)
    .await
    .map_err(StoreError::postgres("reading the current run of sync.runs"))?;
    let Some(run) = found else {
        return Ok(None);
    };
    if run.started_at.is_none() {
        sqlx::query!(
            "update sync.runs set started_at = $2 where id = $1 and started_at is null",
            run.id as RunId,
            now,
        )
        .execute(pool)
        .await
        .map_err(StoreError::postgres("reading the current run of sync.runs"))?;
    }
    Ok(Some(Current { id: run.id, deep: run.deep, is_background: run.is_background }))
}

/// Adds the findings of a bucket, or of a part of it.
pub(crate) async fn add(
    connection: &mut PgConnection,
    id: RunId,
    findings: &Findings,
    half_read_units: i64,
    categories: &[String],
    bucket_done: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        "with category as (
             insert into sync.run_categories (run_id, category)
             select $1, category from unnest($14::text[]) as category order by category
             on conflict do nothing)
         update sync.runs set
             buckets_done = buckets_done + $2, compared = compared + $3, missing = missing + $4,
             stale = stale + $5, ahead = ahead + $6, extra = extra + $7, altered = altered + $8,
             stock = stock + $9, moving = moving + $10, repaired = repaired + $11,
             oldest_divergence = least(oldest_divergence, $12),
             half_read_units = half_read_units + $13
         where id = $1",
        id as RunId,
        i32::from(bucket_done),
        findings.compared,
        findings.missing,
        findings.stale,
        findings.ahead,
        findings.extra,
        findings.altered,
        findings.stock,
        findings.moving,
        findings.repaired,
        findings.oldest_divergence,
        half_read_units,
        categories,
    )
    .execute(connection)
    .await
    .map_err(StoreError::postgres(format!("adding findings to run {id} in sync.runs")))?;
    Ok(())
}

/// The categories that a run saw in listings, in order.
pub(crate) async fn categories(pool: &PgPool, id: RunId) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar!(
        "select category from sync.run_categories where run_id = $1 order by category",
        id as RunId,
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres(format!(
        "reading the categories of run {id} in sync.run_categories"
    )))
}

/// Finishes a run, and deletes the runs past their retention.
pub(crate) async fn finish(pool: &PgPool, id: RunId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "with met as (
             delete from sync.run_categories where run_id = $1),
         old as (
             delete from sync.runs where finished_at < $3)
         update sync.runs set finished_at = $2 where id = $1 and finished_at is null",
        id as RunId,
        now,
        now - KEPT,
    )
    .execute(pool)
    .await
    .map_err(StoreError::postgres(format!("finishing run {id} in sync.runs")))?;
    Ok(())
}

pub(crate) async fn find(pool: &PgPool, id: RunId) -> Result<Option<Run>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, requested_at, requested_by, deep, started_at, finished_at, superseded,
                  buckets_done, compared, missing, stale, ahead, extra, altered, stock, moving,
                  repaired, oldest_divergence,
                  (half_read_units / 2.0)::float8 as "read_units!"
           from sync.runs where id = $1"#,
        id as RunId,
    )
    .fetch_optional(pool)
    .await
    .map_err(StoreError::postgres(format!("reading run {id} of sync.runs")))?;
    Ok(row.map(Run::from))
}

/// Runs with ids below `before`, newest first.
pub(crate) async fn list(
    pool: &PgPool,
    before: Option<RunId>,
    limit: i64,
) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, requested_at, requested_by, deep, started_at, finished_at, superseded,
                  buckets_done, compared, missing, stale, ahead, extra, altered, stock, moving,
                  repaired, oldest_divergence,
                  (half_read_units / 2.0)::float8 as "read_units!"
           from sync.runs
           where $1::uuid is null or id < $1
           order by id desc
           limit $2"#,
        before as Option<RunId>,
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres("listing sync.runs"))?;
    Ok(rows.into_iter().map(Run::from).collect())
}
