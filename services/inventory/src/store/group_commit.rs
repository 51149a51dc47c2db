//! Group commit: products that happen to be created at the same time go into one statement.
//!
//! Nothing waits for company. A row that finds a writer free is written at once, alone; what
//! arrives while every writer is busy goes together next. So a lone request is as fast as it can
//! be, and under load a commit is shared by as many as wait for one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::products::{self, NewRow, WriteError};

/// The most rows that go into one statement.
const MAX_ROWS: usize = 64;

/// How many statements run at once. A second one keeps PostgreSQL busy while the first waits for
/// its disk; more would only make the groups smaller.
const WRITERS: usize = 2;

/// Writes rows that are created one by one. Cheap to clone; clones share their writers.
#[derive(Clone, Debug)]
pub(crate) struct GroupCommit {
    pool: PgPool,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    writers: usize,
}

#[derive(Debug)]
struct Waiting {
    row: NewRow,
    answer: oneshot::Sender<Result<bool, WriteError>>,
}

impl GroupCommit {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, queue: Arc::default() }
    }

    /// Creates a product, as [`products::insert`] does with one row.
    ///
    /// Whoever stops waiting for the answer does not stop the write.
    pub(crate) async fn insert(&self, row: NewRow) -> Result<bool, WriteError> {
        let (answer, answered) = oneshot::channel();
        if let Some(writer) = self.enqueue(Waiting { row, answer }) {
            tokio::spawn(writer.run());
        }
        // Without an answer the writer has panicked, and it is not known what was stored.
        answered.await.unwrap_or_else(|_| Err(WriteError::Lost))
    }

    /// Lets a row wait, and returns another writer if there may be one.
    fn enqueue(&self, waiting: Waiting) -> Option<Writer> {
        let mut queue = lock(&self.queue);
        queue.waiting.push(waiting);
        (queue.writers < WRITERS).then(|| {
            queue.writers += 1;
            Writer { pool: self.pool.clone(), queue: Arc::clone(&self.queue), is_done: false }
        })
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what waits until nothing does.
struct Writer {
    pool: PgPool,
    queue: Arc<Mutex<Queue>>,
    is_done: bool,
}

impl Writer {
    async fn run(mut self) {
        while let Some(group) = self.take() {
            write(&self.pool, group).await;
        }
    }

    /// What goes into the next statement; with nothing left to do, this writer is none any more.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() {
            queue.writers -= 1;
            self.is_done = true;
            return None;
        }
        Some(next_group(&mut queue.waiting))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It panicked: another may take its place.
        if !self.is_done {
            lock(&self.queue).writers -= 1;
        }
    }
}

/// Takes the rows that waited longest. Those that could be in each other's way, because they have
/// the sku or the idempotency key in common, go one after the other, so that each finds what it
/// would have found alone.
fn next_group(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let (mut skus, mut keys) = (HashSet::new(), HashSet::new());
    let (mut group, mut left) = (Vec::with_capacity(waiting.len().min(MAX_ROWS)), Vec::new());
    for one in waiting.drain(..) {
        let NewRow { product, key, .. } = &one.row;
        let sku: (Uuid, String) = (product.seller_id, product.sku.clone());
        let key = key.as_ref().map(|key| (product.seller_id, key.route, key.key.clone()));
        let is_free = !skus.contains(&sku) && key.as_ref().is_none_or(|key| !keys.contains(key));
        if group.len() < MAX_ROWS && is_free {
            skus.insert(sku);
            keys.extend(key);
            group.push(one);
        } else {
            left.push(one);
        }
    }
    *waiting = left;
    group
}

async fn write(pool: &PgPool, group: Vec<Waiting>) {
    let (rows, answers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.row, waiting.answer)).unzip();
    match products::insert(pool, &rows).await {
        Ok(inserted) => {
            for (answer, inserted) in answers.into_iter().zip(inserted) {
                // Whoever has stopped waiting needs none.
                let _ = answer.send(Ok(inserted));
            }
        }
        // The store is the reason: it would be for each of them.
        Err(WriteError::Database(error)) if shared::database::is_transient(&error) => {
            for answer in answers {
                let _ = answer.send(Err(WriteError::Database(Arc::clone(&error))));
            }
        }
        // One of them is the reason, and no other must suffer for it.
        Err(_) => {
            for (row, answer) in rows.into_iter().zip(answers) {
                let inserted = products::insert(pool, &[row]).await;
                let _ = answer.send(inserted.map(|inserted| inserted == [true]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::json;
    use shared::bus;
    use shared::clock::Clock;
    use shared::contract::stock::Stock;
    use shared::id::Ids;
    use shared::request::RequestContext;
    use shared::testkit::database;

    use super::*;
    use crate::product::{self, CreateProduct};
    use crate::store::Cause;
    use crate::store::idempotency::KeyedRequest;

    fn row(nth: u128, sku: &str, key: Option<&str>) -> NewRow {
        let sent = json!({
            "sku": sku, "name": "Shoe", "category": "shoes",
            "price": {"amount": 1, "currency": "BRL"},
        });
        let command = CreateProduct::parse(serde_json::from_value(sent).unwrap()).unwrap();
        let seller = Uuid::from_u128(7);
        let (product, stock) =
            product::create(command, seller, Uuid::from_u128(nth), DateTime::UNIX_EPOCH).unwrap();
        let request =
            RequestContext::background(&Clock::fixed(DateTime::UNIX_EPOCH), &Ids::seeded(1));
        let event_id = Uuid::from_u128(nth << 64);
        let key = key.map(|key| KeyedRequest::new("create_product", key.to_owned(), b"body"));
        NewRow {
            product,
            stock,
            cause: Cause { actor: seller, event_id, request, reason: None },
            key,
        }
    }

    fn waiting(rows: Vec<NewRow>) -> Vec<Waiting> {
        rows.into_iter().map(|row| Waiting { row, answer: oneshot::channel().0 }).collect()
    }

    fn skus(group: &[Waiting]) -> Vec<&str> {
        group.iter().map(|waiting| waiting.row.product.sku.as_str()).collect()
    }

    #[test]
    fn rows_that_could_be_in_each_others_way_go_one_after_the_other() {
        let mut queue = waiting(vec![
            row(1, "A", Some("one")),
            row(2, "A", Some("two")),
            row(3, "B", Some("one")),
            row(4, "C", None),
            row(5, "D", None),
        ]);
        assert_eq!(skus(&next_group(&mut queue)), ["A", "C", "D"]);
        assert_eq!(skus(&next_group(&mut queue)), ["A", "B"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_group_has_an_upper_bound_and_who_came_first_goes_first() {
        let rows = (0..100).map(|nth| row(nth, &format!("SKU-{nth}"), None)).collect();
        let mut queue = waiting(rows);
        assert_eq!(next_group(&mut queue).len(), MAX_ROWS);
        assert_eq!(queue[0].row.product.sku, format!("SKU-{MAX_ROWS}"));
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_stored_takes_nobody_down_with_it() {
        let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
        let poisoned = {
            let row = row(99, "POISON", None);
            NewRow { stock: Stock { on_hand: -1, ..row.stock.clone() }, ..row }
        };
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        for row in [row(1, "A", None), poisoned, row(2, "B", None)] {
            let (answer, answered) = oneshot::channel();
            group.push(Waiting { row, answer });
            answers.push(answered);
        }
        write(&database.pool, group).await;
        let mut stored = Vec::new();
        for answered in answers {
            stored.push(answered.await.unwrap().ok());
        }
        assert_eq!(stored, [Some(true), None, Some(true)]);
    }

    #[tokio::test]
    async fn rows_that_come_at_once_are_all_written_and_the_writers_end() {
        let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
        let creates = GroupCommit::new(database.pool.clone());
        let inserts = (0..300).map(|nth| {
            let creates = creates.clone();
            // Each sku twice: one of the two is refused.
            let row = row(nth + 1, &format!("SKU-{}", nth % 150), None);
            async move { creates.insert(row).await.unwrap() }
        });
        let inserted = futures::future::join_all(inserts).await;
        assert_eq!(inserted.iter().filter(|inserted| **inserted).count(), 150);
        let begun: DateTime<Utc> = Clock::System.now();
        while lock(&creates.queue).writers > 0 {
            assert!((Clock::System.now() - begun).num_seconds() < 10, "a writer does not end");
            tokio::task::yield_now().await;
        }
    }
}
