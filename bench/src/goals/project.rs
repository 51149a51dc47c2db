//! P11: what the projector makes of a full queue a second, against puts on a condition into a table
//! with the same indexes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use shared::clock::Clock;
use shared::contract::envelope::{Envelope, Event as _};
use shared::contract::inventory::Event;
use shared::contract::routes::CATALOG_QUEUE;
use sqlx::postgres::PgPoolCopyExt as _;

use super::{Outcome, rounds, split};
use crate::dynamo;
use crate::edition::Edition;
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::{Load, closed_loop};
use crate::number::rate;
use crate::product::{Made, made};
use crate::world::World;

pub(crate) const WHAT: &str = "projection of a full queue";

/// What projects, and nothing beside it.
const ROLES: &str = "projector,identity";

/// The table of the ceiling.
const TABLE: &str = "ceiling";

/// Puts under way at once: as many as the projector has.
const CONNECTIONS: usize = 16;

/// Events that are prepared for each second of a side: more of them than it can handle, of the
/// ceiling.
const PUTS: u64 = 8_000;
const EVENTS: u64 = 2_000;

pub(crate) async fn measure(world: &World) -> anyhow::Result<Outcome> {
    let edition = Edition::fresh(world, ROLES).await?;
    let client = shared::dynamodb::connect_local(&edition.dynamodb_url);
    catalog::table::ensure(&client, TABLE).await?;
    let mut next = 0;
    let seen = rounds(world, "P11", async || {
        let (puts, events) = (PUTS * world.seconds, EVENTS * world.seconds);
        let at_best = closed_loop(&put(world, &edition, next..next + puts)?).await?;
        let ours = project(&edition, next..next + events).await?;
        next += puts;
        let sample = Sample::new(Stat { value: at_best.stat().value, ..Stat::default() }, ours);
        Ok((sample, (at_best.refused, at_best.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.6)];
    Ok(vec![Figure { what: WHAT.to_owned(), unit: "events/s", bounds, samples, note }].into())
}

/// Events a second, measured once.
pub(super) async fn estimate(world: &World) -> anyhow::Result<f64> {
    let edition = Edition::fresh(world, ROLES).await?;
    Ok(project(&edition, 0..EVENTS * world.seconds).await?.value)
}

/// Puts each of these listings, on the condition that there is none.
fn put(world: &World, edition: &Edition, numbers: std::ops::Range<u64>) -> anyhow::Result<Load> {
    // Written beforehand: it is the store that is measured.
    let bodies = numbers
        .map(|number| {
            let item = dynamo::item(&made(number).listing())?;
            let condition = "attribute_not_exists(id)";
            let body =
                json!({ "TableName": TABLE, "Item": item, "ConditionExpression": condition });
            Ok(body.to_string())
        })
        .collect::<anyhow::Result<Vec<String>>>()?;
    Ok(Load {
        address: edition.dynamodb,
        connections: CONNECTIONS,
        duration: Duration::from_secs(world.seconds),
        status: 200,
        request: Arc::new(move |number, buffer| {
            let nth = usize::try_from(number).unwrap_or(0) % bodies.len();
            dynamo::call("PutItem", &bodies[nth], buffer);
        }),
        observe: None,
    })
}

/// Has these events wait in the queue, all at once, and sees them go.
async fn project(edition: &Edition, numbers: std::ops::Range<u64>) -> anyhow::Result<Stat> {
    send(edition, numbers).await?;
    let (mut first, deadline) = (None, Instant::now() + Duration::from_mins(5));
    loop {
        let left = waiting(edition).await?;
        let now = Instant::now();
        match first {
            // Counted from the first settled batch on: before it, the queue may not have been
            // looked at yet.
            None => first = Some((left, left, now)),
            Some((all, counted, _)) if counted == all && left < all => {
                first = Some((all, left, now));
            }
            Some((_, counted, since)) if left == 0 => {
                return Ok(Stat::of(rate(counted, now - since)));
            }
            Some(_) if now > deadline => anyhow::bail!("{left} events are not projected"),
            Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Messages that wait for the projector.
pub(super) async fn waiting(edition: &Edition) -> anyhow::Result<u64> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from bus.messages").fetch_one(&edition.pool).await?;
    Ok(u64::try_from(count)?)
}

/// Sends the events of these products, in one transaction.
pub(super) async fn send(edition: &Edition, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let mut copy = edition
        .pool
        .copy_in_raw(
            "copy bus.messages (queue, event_id, event_type, subject, body, sent_at, visible_at) \
             from stdin",
        )
        .await?;
    for number in numbers {
        let envelope = envelope(made(number));
        let body = serde_json::to_string(&envelope).context("writing an event")?;
        let (event, subject) = (envelope.id, envelope.subject);
        // No value in it has a tab, a line break or a backslash.
        let row =
            format!("{CATALOG_QUEUE}\t{event}\tProductCreated\t{subject}\t{body}\t{now}\t{now}\n");
        copy.send(row.as_bytes()).await?;
    }
    copy.finish().await?;
    Ok(())
}

fn envelope(made: Made) -> Envelope<Event> {
    let now = Clock::System.now();
    Envelope {
        specversion: "1.0".to_owned(),
        id: made.event_id,
        source: Event::SOURCE.to_owned(),
        subject: made.product.id,
        time: now,
        schemaversion: 1,
        traceparent: Some(format!("00-{:032x}-0000000000000001-00", made.request_id.as_u128())),
        requestid: made.request_id,
        requestedtime: now,
        publishedtime: now,
        position: made.position,
        republished: false,
        event: Event::ProductCreated { product: made.product, stock: made.stock },
    }
}
