//! Group commit: products that happen to be created at the same time go into one statement.
//!
//! Nothing waits for company. A row that finds a writer free is written at once, alone; what
//! arrives while every writer is busy goes together next. So a lone request is as fast as it can
//! be, and under load a commit is shared by as many as wait for one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::failpoint;
use sqlx::PgPool;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::store::products::{self, NewRow};
use crate::store::{StoreError, WriteError};

/// The most rows that go into one statement.
const MAX_ROWS: usize = 64;

/// How many statements run at once. A second one keeps PostgreSQL busy while the first waits for
/// its disk; more would only make the groups smaller.
const WRITERS: usize = 2;

/// How long a statement may take, waiting for a connection included.
const PATIENCE: Duration = Duration::from_secs(8);

/// The most rows that wait. With each of them at its largest they take 256 MiB; who comes then is
/// asked to come again.
const MAX_WAITING: usize = 4_096;

/// Writes rows that are created one by one. Cheap to clone; clones share their writers.
#[derive(Clone, Debug)]
pub(crate) struct GroupCommit {
    pool: PgPool,
    patience: Duration,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    writers: usize,
    /// What the statements under way are about.
    under_way: HashSet<Claim>,
}

#[derive(Debug)]
struct Waiting {
    row: NewRow,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<(NewRow, bool), WriteError>>;

/// What at most one statement at a time may be about. Two of them would wait for each other in
/// PostgreSQL, and everybody in the loser's group with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Claim {
    Sku(Uuid, String),
    Key(Uuid, &'static str, String),
}

fn claims_of(row: &NewRow) -> impl Iterator<Item = Claim> {
    let seller = row.product.seller_id;
    let key = row.key.as_ref().map(|key| Claim::Key(seller, key.route, key.key.clone()));
    std::iter::once(Claim::Sku(seller, row.product.sku.clone())).chain(key)
}

impl GroupCommit {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, patience: PATIENCE, queue: Arc::default() }
    }

    /// Creates a product, as [`products::insert`] does with one row.
    ///
    /// Whoever stops waiting for the answer does not stop a write that is under way; what is not
    /// begun by then is not done.
    ///
    /// # Errors
    /// [`WriteError::Busy`] at once where too much waits already.
    pub(crate) async fn insert(&self, row: NewRow) -> Result<(NewRow, bool), WriteError> {
        let (answer, answered) = oneshot::channel();
        if let Some(writer) = self.enqueue(Waiting { row, answer })? {
            tokio::spawn(writer.run());
        }
        // Without an answer the writer has panicked, and it is not known what was stored.
        answered.await.unwrap_or_else(|_| Err(WriteError::Lost))
    }

    /// Lets a row wait, and returns another writer if there may be one.
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
                patience: self.patience,
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

/// Writes what waits until nothing does.
struct Writer {
    pool: PgPool,
    patience: Duration,
    queue: Arc<Mutex<Queue>>,
    /// What its statement is about.
    claims: Vec<Claim>,
    is_done: bool,
}

impl Writer {
    async fn run(mut self) {
        while let Some(group) = self.take() {
            if let Err(error) = write(&self.pool, self.patience, group).await {
                // Nobody else would be answered either, and each would wait as long to learn it.
                let waiting = std::mem::take(&mut lock(&self.queue).waiting);
                answer_all(waiting.into_iter().map(|waiting| waiting.answer), &error);
            }
        }
    }

    /// What goes into the next statement. With nothing left that may, this writer is none any more;
    /// what waits for the other writer's statement is that one's to take.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.queue);
        for claim in self.claims.drain(..) {
            queue.under_way.remove(&claim);
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
        // It panicked: another may take its place.
        if !self.is_done {
            let mut queue = lock(&self.queue);
            queue.writers -= 1;
            for claim in self.claims.drain(..) {
                queue.under_way.remove(&claim);
            }
        }
    }
}

impl Queue {
    /// Takes the rows that waited longest. Those that could be in each other's way, because they
    /// have the sku or the idempotency key in common, go one after the other, so that each finds
    /// what it would have found alone.
    fn next_group(&mut self) -> Vec<Waiting> {
        let mut group = Vec::with_capacity(self.waiting.len().min(MAX_ROWS));
        let mut left = Vec::new();
        for waiting in self.waiting.drain(..) {
            if waiting.answer.is_closed() {
                // Whoever sent it has gone, and was not told that it was stored.
                continue;
            }
            if group.len() == MAX_ROWS {
                left.push(waiting);
                continue;
            }
            let claims: Vec<Claim> = claims_of(&waiting.row).collect();
            if claims.iter().any(|claim| self.under_way.contains(claim)) {
                left.push(waiting);
            } else {
                self.under_way.extend(claims);
                group.push(waiting);
            }
        }
        self.waiting = left;
        group
    }
}

/// Writes a group and answers each of it.
///
/// # Errors
/// Where PostgreSQL cannot be asked at all.
async fn write(pool: &PgPool, patience: Duration, group: Vec<Waiting>) -> Result<(), StoreError> {
    let (rows, answers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.row, waiting.answer)).unzip();
    failpoint::reach("create.taken").await;
    let inserted = insert(pool, patience, &rows).await;
    failpoint::reach("create.committed").await;
    match inserted {
        Ok(inserted) => {
            for ((row, answer), inserted) in rows.into_iter().zip(answers).zip(inserted) {
                // A caller that has gone away needs no answer.
                let _ = answer.send(Ok((row, inserted)));
            }
        }
        Err(WriteError::Silent) => {
            for answer in answers {
                let _ = answer.send(Err(WriteError::Silent));
            }
        }
        Err(WriteError::Store(error)) if error.is_unreachable() => {
            answer_all(answers, &error);
            return Err(error);
        }
        // One of them is the reason, and no other must suffer for it.
        Err(_) => {
            for (row, answer) in rows.into_iter().zip(answers) {
                let inserted = match insert(pool, patience, std::slice::from_ref(&row)).await {
                    Err(WriteError::SkuTaken | WriteError::KeyUsed) => Ok((row, false)),
                    inserted => inserted.map(|inserted| (row, inserted == [true])),
                };
                let _ = answer.send(inserted);
            }
        }
    }
    Ok(())
}

/// PostgreSQL gives a statement up after 5 s, but cannot where the connection itself has gone
/// silent: a writer that waits for that would keep everybody waiting.
async fn insert(
    pool: &PgPool,
    patience: Duration,
    rows: &[NewRow],
) -> Result<Vec<bool>, WriteError> {
    let written = tokio::time::timeout(patience, products::insert(pool, rows));
    written.await.unwrap_or(Err(WriteError::Silent))
}

fn answer_all(answers: impl IntoIterator<Item = Answer>, error: &StoreError) {
    for answer in answers {
        let _ = answer.send(Err(WriteError::Store(error.clone())));
    }
}

#[cfg(test)]
mod tests;
