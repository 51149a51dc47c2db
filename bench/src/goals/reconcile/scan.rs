//! The ceilings of reconciliation: reading each store completely, without using the data.

use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::contract::sync_feed::BUCKETS;
use sqlx::postgres::PgPoolCopyExt as _;
use vitrina::edition::TABLE;

use crate::dynamo;
use crate::edition::Edition;
use crate::load::Connection;
use crate::number::rate;

/// Concurrent readers: as many as the reconciler handles buckets at once.
const READERS: u16 = 4;

/// Items in a page of a scan, about as many as fit into DynamoDB's limit of 1 MB. Without a limit, the
/// local store reads all remaining items for one page.
const PAGE: u32 = 1_000;

/// The attributes to read of a listing.
const NARROW: &str = "id, product_version, content_hash";

/// Reads ids and versions of all products in the order of ids. Returns the rows a second.
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

/// The result of reading all listings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    /// Listings a second.
    pub(super) rate: f64,
    /// The read units that DynamoDB charges for eventually consistent reads.
    pub(super) read_units: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScanResponse {
    count: u64,
    last_evaluated_key: Option<Value>,
    consumed_capacity: Option<Consumed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Consumed {
    capacity_units: f64,
}

/// Reads all listings with one scan, and again by bucket with several readers. Returns the faster
/// rate. (A parallel scan is no option: the local store sorts everything for each page of it.)
pub(super) async fn listings(edition: &Edition) -> anyhow::Result<Scanned> {
    let begun = Instant::now();
    let mut connection = Connection::open(edition.dynamodb).await?;
    let whole = json!({ "TableName": TABLE, "Limit": PAGE });
    let (scanned, read_units) = read(&mut connection, "Scan", whole).await?;
    let alone = rate(scanned, begun.elapsed());
    let begun = Instant::now();
    let counts = try_join_all((0..READERS).map(|reader| buckets(edition, reader))).await?;
    let together = rate(counts.iter().sum(), begun.elapsed());
    Ok(Scanned { rate: alone.max(together), read_units })
}

/// Reads every bucket of a reader. Returns the number of listings in them.
async fn buckets(edition: &Edition, reader: u16) -> anyhow::Result<u64> {
    let mut connection = Connection::open(edition.dynamodb).await?;
    let mut count = 0;
    for bucket in (reader..BUCKETS).step_by(usize::from(READERS)) {
        let of_bucket = json!({
            "TableName": TABLE,
            "KeyConditionExpression": "#bucket = :bucket",
            "ExpressionAttributeNames": { "#bucket": "bucket" },
            "ExpressionAttributeValues": { ":bucket": { "N": bucket.to_string() } },
        });
        count += read(&mut connection, "Query", of_bucket).await?.0;
    }
    Ok(count)
}

/// Reads all pages. Returns the number of items and the read units.
async fn read(
    connection: &mut Connection,
    operation: &str,
    mut body: Value,
) -> anyhow::Result<(u64, f64)> {
    body["ProjectionExpression"] = NARROW.into();
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    let (mut count, mut units) = (0, 0.0);
    loop {
        connection.request.clear();
        dynamo::call(operation, &body.to_string(), &mut connection.request);
        let status = connection.call().await.context("reading all listings")?;
        anyhow::ensure!(status == 200, "reading all listings: {status}");
        let response: ScanResponse = serde_json::from_slice(connection.body())?;
        count += response.count;
        units += response.consumed_capacity.map_or(0.0, |consumed| consumed.capacity_units);
        match response.last_evaluated_key {
            Some(key) => body["ExclusiveStartKey"] = key,
            None => return Ok((count, units)),
        }
    }
}
