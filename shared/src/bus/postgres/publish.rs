//! Publishing into the table of messages.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bus::publish::{BusError, Outbound, Publish, Refused};
use crate::clock::Clock;
use crate::contract::routes::{self, Route};
use crate::id::EventId;

/// The local edition's bus.
#[derive(Clone, Debug)]
pub struct PgBus {
    pool: PgPool,
    clock: Clock,
    routes: &'static [Route],
    nudges: Vec<(&'static str, Arc<Notify>)>,
}

impl PgBus {
    /// A bus that carries each event to the queues that `routes` name for it.
    pub fn new(pool: PgPool, clock: Clock, routes: &'static [Route]) -> Self {
        Self { pool, clock, routes, nudges: Vec::new() }
    }

    /// Wakes the consumer of `queue` in this process when there is a message for it. Consumers in
    /// other processes poll.
    #[must_use]
    pub fn with_nudge(mut self, queue: &'static str, nudge: Arc<Notify>) -> Self {
        self.nudges.push((queue, nudge));
        self
    }
}

impl Publish for PgBus {
    /// A single statement, so either all events are written or none.
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        let mut queues: Vec<String> = Vec::with_capacity(events.len());
        let (mut ids, mut types): (Vec<EventId>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut subjects, mut bodies): (Vec<Uuid>, Vec<String>) = (Vec::new(), Vec::new());
        for event in events {
            for queue in routes::queues_of(self.routes, event.source, event.event_type) {
                queues.push(queue.to_owned());
                ids.push(event.event_id);
                types.push(event.event_type.to_owned());
                subjects.push(event.subject);
                bodies.push(event.body.clone());
            }
        }
        if queues.is_empty() {
            return Ok(vec![Ok(()); events.len()]);
        }
        sqlx::query!(
            "insert into bus.messages
                 (queue, event_id, event_type, subject, body, sent_at, visible_at)
             select queue, event_id, event_type, subject, body, $6, $6
             from unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::text[])
                  with ordinality as message (queue, event_id, event_type, subject, body, nth)
             order by nth",
            &queues,
            &ids as &[EventId],
            &types,
            &subjects,
            &bodies,
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        for (queue, nudge) in &self.nudges {
            if queues.iter().any(|sent| sent == queue) {
                nudge.notify_one();
            }
        }
        Ok(vec![Ok(()); events.len()])
    }
}
