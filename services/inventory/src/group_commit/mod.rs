//! Group commit: products that are created at the same time share one statement.
//!
//! No row waits for others to join it. If a writer is free, a row is written at once, alone; the
//! rows that arrive while every writer is busy form the next group. So a lone request has no extra
//! latency, and under load many requests share one commit.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::failpoint;
use shared::id::{SellerId, UserId};
use sqlx::PgPool;
use tokio::sync::oneshot;

use crate::store::products::{self, NewRow};
use crate::store::{StoreError, WriteError};

/// The most rows that go into one statement.
const MAX_ROWS: usize = 64;

/// Statements that run at once. The second keeps PostgreSQL busy while the first waits for its
/// disk; more would only make the groups smaller.
const WRITERS: usize = 2;

/// How long a statement may take, including the wait for a connection.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Timeouts after which the rest of a group is refused that is written row by row. More have a common
/// cause, such as a locked table, and would hold up the whole queue.
const MAX_TIMEOUTS: u32 = 2;

/// Queue limit: at the largest row size it holds 256 MiB. When it is full, requests get 503 with
/// `Retry-After`.
const MAX_WAITING: usize = 4_096;

/// Writes rows that are created one by one. Cheap to clone; clones share their writers.
#[derive(Clone, Debug)]
pub(crate) struct GroupCommit {
    pool: PgPool,
    timeout: Duration,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    writers: usize,
    /// The claims of the statements in flight.
    in_flight: HashSet<Claim>,
}

#[derive(Debug)]
struct Waiting {
    row: NewRow,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<(NewRow, bool), WriteError>>;

/// A unique value that at most one statement in flight may contain. Two statements with the same
/// value would wait for each other in PostgreSQL, and so would every row of the losing group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Claim {
    Sku(SellerId, String),
    Key(UserId, &'static str, String),
}

fn claims_of(row: &NewRow) -> impl Iterator<Item = Claim> {
    let seller = row.product.seller_id;
    let user = row.cause.actor;
    let key = row.key.as_ref().map(|key| Claim::Key(user, key.route, key.key.clone()));
    std::iter::once(Claim::Sku(seller, row.product.sku.clone())).chain(key)
}

impl GroupCommit {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, timeout: TIMEOUT, queue: Arc::default() }
    }

    /// Creates a product, as [`products::insert`] does with one row.
    ///
    /// Returns the row, and whether it was inserted. Dropping the future does not stop a write in
    /// flight; a write that has not begun is skipped.
    ///
    /// # Errors
    /// [`WriteError::Busy`] at once if the queue is full.
    pub(crate) async fn insert(&self, row: NewRow) -> Result<(NewRow, bool), WriteError> {
        let (reply, receiver) = oneshot::channel();
        if let Some(writer) = self.enqueue(Waiting { row, reply })? {
            tokio::spawn(writer.run());
        }
        // The writer panicked before it replied, so whether the row was stored is unknown.
        receiver.await.unwrap_or_else(|_| Err(WriteError::Lost))
    }

    /// Queues a row, and returns a new writer if fewer than the maximum are running.
    fn enqueue(&self, waiting: Waiting) -> Result<Option<Writer>, WriteError> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= MAX_WAITING {
            return Err(WriteError::Busy);
        }
        queue.waiting.push(waiting);
        Ok((queue.writers < WRITERS).then(|| {
            queue.writers += 1;
            Writer {
                pool: self.pool.clone(),
                timeout: self.timeout,
                queue: Arc::clone(&self.queue),
                claims: Vec::new(),
                is_done: false,
            }
        }))
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes queued rows until the queue is empty.
struct Writer {
    pool: PgPool,
    timeout: Duration,
    queue: Arc<Mutex<Queue>>,
    /// The claims of its statement in flight.
    claims: Vec<Claim>,
    is_done: bool,
}

impl Writer {
    async fn run(mut self) {
        while let Some(group) = self.take() {
            if let Err(error) = write(&self.pool, self.timeout, group).await {
                // The waiting rows would fail as well, each after another timeout: fail them now.
                let waiting = std::mem::take(&mut lock(&self.queue).waiting);
                reply_all(waiting.into_iter().map(|waiting| waiting.reply), &error);
            }
        }
    }

    /// Takes the group for the next statement. If no row may be written now, this writer stops; the
    /// rows that wait for the other writer's statement are taken by that writer.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.queue);
        for claim in self.claims.drain(..) {
            queue.in_flight.remove(&claim);
        }
        let group = queue.next_group();
        if group.is_empty() {
            queue.writers -= 1;
            self.is_done = true;
            return None;
        }
        self.claims.extend(group.iter().flat_map(|waiting| claims_of(&waiting.row)));
        Some(group)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The writer panicked: make room for another.
        if !self.is_done {
            let mut queue = lock(&self.queue);
            queue.writers -= 1;
            for claim in self.claims.drain(..) {
                queue.in_flight.remove(&claim);
            }
        }
    }
}

impl Queue {
    /// Takes the rows that waited longest. Rows with the same SKU or idempotency key go into
    /// different statements, one after the other, so that each finds what it would find alone.
    fn next_group(&mut self) -> Vec<Waiting> {
        let mut group = Vec::with_capacity(self.waiting.len().min(MAX_ROWS));
        let mut left = Vec::new();
        for waiting in self.waiting.drain(..) {
            if waiting.reply.is_closed() {
                // Skip writes whose caller has gone away.
                continue;
            }
            if group.len() == MAX_ROWS {
                left.push(waiting);
                continue;
            }
            let claims: Vec<Claim> = claims_of(&waiting.row).collect();
            if claims.iter().any(|claim| self.in_flight.contains(claim)) {
                left.push(waiting);
            } else {
                self.in_flight.extend(claims);
                group.push(waiting);
            }
        }
        self.waiting = left;
        group
    }
}

/// Writes a group and replies for each of its rows.
///
/// # Errors
/// If PostgreSQL cannot be reached.
async fn write(pool: &PgPool, timeout: Duration, group: Vec<Waiting>) -> Result<(), StoreError> {
    let (rows, replies): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.row, waiting.reply)).unzip();
    failpoint::reach("create.taken").await;
    let inserted = insert(pool, timeout, &rows).await;
    failpoint::reach("create.committed").await;
    match inserted {
        Ok(inserted) => {
            for ((row, reply), inserted) in rows.into_iter().zip(replies).zip(inserted) {
                // A caller that has gone away needs no reply.
                let _ = reply.send(Ok((row, inserted)));
            }
        }
        Err(WriteError::Silent) => {
            for reply in replies {
                let _ = reply.send(Err(WriteError::Silent));
            }
        }
        Err(WriteError::Store(error)) if error.is_unreachable() => {
            reply_all(replies, &error);
            return Err(error);
        }
        // A row alone may take as long: the rows of a group one by one would take many times that.
        Err(WriteError::Store(error)) if error.is_cancelled() => reply_all(replies, &error),
        // One row caused the failure, and the others must not fail with it.
        Err(_) => write_one_by_one(pool, timeout, rows.into_iter().zip(replies)).await,
    }
    Ok(())
}

/// Writes the rows of a group that failed, each alone, and replies for each.
async fn write_one_by_one(
    pool: &PgPool,
    timeout: Duration,
    rows: impl Iterator<Item = (NewRow, Reply)>,
) {
    let mut timeouts = 0;
    for (row, reply) in rows {
        if reply.is_closed() {
            // Its caller has gone away since the group was taken.
            continue;
        }
        if timeouts == MAX_TIMEOUTS {
            let _ = reply.send(Err(WriteError::Busy));
            continue;
        }
        let inserted = match insert(pool, timeout, std::slice::from_ref(&row)).await {
            Err(WriteError::SkuTaken | WriteError::KeyUsed) => Ok((row, false)),
            inserted => inserted.map(|inserted| (row, inserted == [true])),
        };
        timeouts += u32::from(matches!(&inserted, Err(error) if is_timeout(error)));
        let _ = reply.send(inserted);
    }
}

fn is_timeout(error: &WriteError) -> bool {
    match error {
        WriteError::Silent => true,
        WriteError::Store(error) => {
            error.is_unreachable() || error.is_cancelled() || error.is_lock_timeout()
        }
        _ => false,
    }
}

/// PostgreSQL cancels a statement after 5 s, but the client never learns of it if the connection
/// has gone silent. Without a timeout of its own, the writer would block every queued row.
async fn insert(
    pool: &PgPool,
    timeout: Duration,
    rows: &[NewRow],
) -> Result<Vec<bool>, WriteError> {
    let written = tokio::time::timeout(timeout, products::insert(pool, rows));
    written.await.unwrap_or(Err(WriteError::Silent))
}

fn reply_all(replies: impl IntoIterator<Item = Reply>, error: &StoreError) {
    for reply in replies {
        let _ = reply.send(Err(WriteError::Store(error.clone())));
    }
}

#[cfg(test)]
mod tests;
