//! P11: events that the projector handles a second from a full queue, against conditional puts into
//! a table with the same indexes.

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
use crate::product::{Generated, generate};
use crate::setup::Setup;

pub(crate) const WHAT: &str = "projection of a full queue";

/// The projector without other background work.
const PARTS: &str = "projector,identity";

/// The table of the ceiling.
const TABLE: &str = "ceiling";

/// Puts in flight: as many as the projector has.
const CONNECTIONS: usize = 16;

/// Puts and events to prepare for each second of a side. More puts than the store can handle.
const PUTS: u64 = 8_000;
const EVENTS: u64 = 2_000;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let edition = Edition::fresh(setup, PARTS).await?;
    let client = shared::dynamodb::connect_local(&edition.dynamodb_url);
    catalog::table::ensure(&client, TABLE).await?;
    let mut next = 0;
    let seen = rounds(setup, "P11", async || {
        let (puts, events) = (PUTS * setup.seconds, EVENTS * setup.seconds);
        let at_best = closed_loop(&put(setup, &edition, next..next + puts)?).await?;
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
pub(super) async fn estimate(setup: &Setup) -> anyhow::Result<f64> {
    let edition = Edition::fresh(setup, PARTS).await?;
    Ok(project(&edition, 0..EVENTS * setup.seconds).await?.value)
}

/// Puts each of these listings if it does not exist yet.
fn put(setup: &Setup, edition: &Edition, numbers: std::ops::Range<u64>) -> anyhow::Result<Load> {
    // Serialised in advance, so that only the store is measured.
    let bodies = numbers
        .map(|number| {
            let item = dynamo::item(&generate(number).listing())?;
            let condition = "attribute_not_exists(id)";
            let body =
                json!({ "TableName": TABLE, "Item": item, "ConditionExpression": condition });
            Ok(body.to_string())
        })
        .collect::<anyhow::Result<Vec<String>>>()?;
    Ok(Load {
        address: edition.dynamodb,
        connections: CONNECTIONS,
        duration: Duration::from_secs(setup.seconds),
        status: 200,
        request: Arc::new(move |number, buffer| {
            let nth = usize::try_from(number).unwrap_or(0) % bodies.len();
            dynamo::call("PutItem", &bodies[nth], buffer);
        }),
        observe: None,
    })
}

/// Sends these events to the queue at once, and measures the rate at which they leave it.
async fn project(edition: &Edition, numbers: std::ops::Range<u64>) -> anyhow::Result<Stat> {
    send(edition, numbers).await?;
    let (mut first, deadline) = (None, Instant::now() + Duration::from_mins(5));
    loop {
        let remaining = waiting(edition).await?;
        let now = Instant::now();
        match first {
            // Time starts with the first settled batch: before it, the projector may not have polled
            // the queue yet.
            None => first = Some((remaining, remaining, now)),
            Some((all, counted, _)) if counted == all && remaining < all => {
                first = Some((all, remaining, now));
            }
            Some((_, counted, since)) if remaining == 0 => {
                return Ok(Stat::of(rate(counted, now - since)));
            }
            Some(_) if now > deadline => anyhow::bail!("{remaining} events are not projected"),
            Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The number of messages in the queue.
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
        let envelope = envelope(generate(number));
        let body = serde_json::to_string(&envelope).context("writing an event")?;
        let (event, subject) = (envelope.id, envelope.subject);
        // No value contains a tab, a line break or a backslash, so none is escaped.
        let row =
            format!("{CATALOG_QUEUE}\t{event}\tProductCreated\t{subject}\t{body}\t{now}\t{now}\n");
        copy.send(row.as_bytes()).await?;
    }
    copy.finish().await?;
    Ok(())
}

fn envelope(generated: Generated) -> Envelope<Event> {
    let now = Clock::System.now();
    Envelope {
        specversion: "1.0".to_owned(),
        id: generated.event_id,
        source: Event::SOURCE.to_owned(),
        subject: generated.product.id.uuid(),
        time: now,
        schemaversion: 1,
        traceparent: Some(format!(
            "00-{:032x}-0000000000000001-00",
            generated.request_id.uuid().as_u128()
        )),
        requestid: generated.request_id,
        requestedtime: now,
        publishedtime: now,
        position: generated.position,
        republished: false,
        event: Event::ProductCreated { product: generated.product, stock: generated.stock },
    }
}
