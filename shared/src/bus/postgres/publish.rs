//! Publishing into the table of messages.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bus::{BusError, Outbound, Refused};
use crate::clock::Clock;

/// The local edition's bus.
#[derive(Clone, Debug)]
pub struct PgBus {
    pool: PgPool,
    clock: Clock,
    queues: Arc<[String]>,
    /// Wakes the consumers of this process; those of others look by themselves.
    nudge: Arc<Notify>,
}

impl PgBus {
    /// A bus that carries every event to each of `queues`.
    pub fn new(pool: PgPool, clock: Clock, queues: &[&str], nudge: Arc<Notify>) -> Self {
        let queues = queues.iter().map(|&queue| queue.to_owned()).collect();
        Self { pool, clock, queues, nudge }
    }

    /// All or nothing: it is one statement.
    pub(in crate::bus) async fn publish(
        &self,
        events: &[Outbound],
    ) -> Result<Vec<Result<(), Refused>>, BusError> {
        // Nobody wants them, as when a relay is measured alone.
        if self.queues.is_empty() {
            return Ok(vec![Ok(()); events.len()]);
        }
        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let types: Vec<String> = events.iter().map(|event| event.event_type.to_owned()).collect();
        let subjects: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
        let bodies: Vec<String> = events.iter().map(|event| event.body.clone()).collect();
        sqlx::query!(
            "insert into bus.messages
                 (queue, event_id, event_type, subject, body, sent_at, visible_at)
             select queue, event_id, event_type, subject, body, $6, $6
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
                  with ordinality as event (event_id, event_type, subject, body, nth)
             cross join unnest($5::text[]) as queue
             order by nth",
            &ids,
            &types,
            &subjects,
            &bodies,
            &self.queues as &[String],
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        self.nudge.notify_one();
        Ok(vec![Ok(()); events.len()])
    }
}
