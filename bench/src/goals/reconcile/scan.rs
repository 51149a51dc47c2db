//! The ceilings of reconciliation: each store read from one end to the other, and nothing done with
//! it.

use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolCopyExt as _;
use vitrina::edition::TABLE;

use crate::dynamo;
use crate::edition::Edition;
use crate::load::Connection;
use crate::number::rate;

/// Parts that the table is read in at once: as many as the reconciler has buckets in its hands.
const SEGMENTS: u64 = 4;

/// Rows a second, in the order of their ids, with their versions.
pub(super) async fn rows(edition: &Edition, products: u64) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut stream = edition
        .pool
        .copy_out_raw(
            "copy (select id, version from inventory.products order by id) to stdout with binary",
        )
        .await?;
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(rate(products, begun.elapsed()))
}

/// What a scan of all listings showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    /// Listings a second.
    pub(super) rate: f64,
    /// What DynamoDB charges for it, eventually consistent.
    pub(super) read_units: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    count: u64,
    last_evaluated_key: Option<Value>,
    consumed_capacity: Option<Consumed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Consumed {
    capacity_units: f64,
}

pub(super) async fn listings(edition: &Edition) -> anyhow::Result<Scanned> {
    let begun = Instant::now();
    let parts = try_join_all((0..SEGMENTS).map(|segment| part(edition, segment))).await?;
    let count = parts.iter().map(|(count, _)| count).sum();
    let read_units = parts.iter().map(|(_, units)| units).sum();
    Ok(Scanned { rate: rate(count, begun.elapsed()), read_units })
}

async fn part(edition: &Edition, segment: u64) -> anyhow::Result<(u64, f64)> {
    let mut connection = Connection::open(edition.dynamodb).await?;
    let (mut count, mut units, mut start) = (0, 0.0, None);
    loop {
        let mut body = json!({
            "TableName": TABLE,
            "Segment": segment,
            "TotalSegments": SEGMENTS,
            "ProjectionExpression": "id, product_version, content_hash",
            "ReturnConsumedCapacity": "TOTAL",
        });
        if let Some(key) = start.take() {
            body["ExclusiveStartKey"] = key;
        }
        connection.request.clear();
        dynamo::call("Scan", &body.to_string(), &mut connection.request);
        let status = connection.call().await.context("scanning listings")?;
        anyhow::ensure!(status == 200, "scanning listings: {status}");
        let answer: Answer = serde_json::from_slice(connection.body())?;
        count += answer.count;
        units += answer.consumed_capacity.map_or(0.0, |consumed| consumed.capacity_units);
        match answer.last_evaluated_key {
            Some(key) => start = Some(key),
            None => return Ok((count, units)),
        }
    }
}
