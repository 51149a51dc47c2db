//! Plants differences of every kind for reconciliation to find.

use anyhow::Context as _;
use serde_json::json;
use shared::contract::inventory::Event;
use vitrina::edition::TABLE;

use crate::dynamo;
use crate::edition::Edition;
use crate::load::Connection;
use crate::product::{Generated, generate};

/// The number of kinds.
const KINDS: u64 = 6;

/// Makes `count` products differ from their listings, with equally many of each kind. Every `round`
/// uses other products.
pub(super) async fn plant(
    edition: &Edition,
    products: u64,
    count: u64,
    round: u64,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(edition.dynamodb).await?;
    let step = products / count;
    anyhow::ensure!(round < step, "too few products for another round of differences");
    for nth in 0..count {
        let number = nth * step + round;
        let generated = generate(number);
        let mut listing = generated.listing();
        match nth % KINDS {
            0 => {
                let key = json!({ "bucket": listing.bucket, "id": listing.id });
                let body = json!({ "TableName": TABLE, "Key": dynamo::item(&key)? });
                call(&mut connection, "DeleteItem", &body.to_string()).await?;
                continue;
            }
            1 => {
                change_row(edition, generated).await?;
                continue;
            }
            2 => listing.product_version = 5,
            // An orphaned listing.
            3 => {
                listing = generate(products + number).listing();
                // A position beyond that of the outbox would be damage, another kind of difference.
                (listing.product_position, listing.stock_position) = (1, 1);
            }
            4 => {
                let other = generate(products + nth).product;
                listing.name = Some(other.name);
                listing.content_hash = Some(other.content_hash);
            }
            _ => listing.on_hand += 7,
        }
        let body = json!({ "TableName": TABLE, "Item": dynamo::item(&listing)? });
        call(&mut connection, "PutItem", &body.to_string()).await?;
    }
    Ok(())
}

async fn call(connection: &mut Connection, operation: &str, body: &str) -> anyhow::Result<()> {
    connection.request.clear();
    dynamo::call(operation, body, &mut connection.request);
    let status = connection.call().await.context("planting a difference")?;
    let body = String::from_utf8_lossy(connection.body());
    anyhow::ensure!(status == 200, "planting a difference: {status} {body}");
    Ok(())
}

/// Loses the event of a change: it is in the row and the journal, but not in the outbox.
async fn change_row(edition: &Edition, generated: Generated) -> anyhow::Result<()> {
    let mut product = generated.product;
    product.version = 2;
    product.name.push_str(", changed");
    let product = product.hashed();
    let event = serde_json::to_string(&Event::ProductUpdated { product: product.clone() })?;
    sqlx::query(
        "with row as (
             update inventory.products set name = $2, version = 2, content_hash = $3 where id = $1)
         insert into inventory.journal
             (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
              traceparent, requested_at, committed_at)
         select aggregate, aggregate_id, 2, gen_random_uuid(), 'changed', $4::json, actor,
                request_id, traceparent, requested_at, committed_at
         from inventory.journal where aggregate_id = $1 and version = 1",
    )
    .bind(product.id)
    .bind(&product.name)
    .bind(&product.content_hash.0)
    .bind(event)
    .execute(&edition.pool)
    .await
    .with_context(|| format!("changing the row of {}", product.id))?;
    Ok(())
}
