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

use super::products::{self, NewRow, WriteError};

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
    answer: oneshot::Sender<Result<bool, WriteError>>,
}

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
    pub(crate) async fn insert(&self, row: NewRow) -> Result<bool, WriteError> {
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
async fn write(
    pool: &PgPool,
    patience: Duration,
    group: Vec<Waiting>,
) -> Result<(), Arc<sqlx::Error>> {
    let (rows, answers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.row, waiting.answer)).unzip();
    failpoint::reach("create.taken").await;
    let inserted = insert(pool, patience, &rows).await;
    failpoint::reach("create.committed").await;
    match inserted {
        Ok(inserted) => {
            for (answer, inserted) in answers.into_iter().zip(inserted) {
                // Whoever has stopped waiting needs none.
                let _ = answer.send(Ok(inserted));
            }
        }
        Err(WriteError::Silent) => {
            for answer in answers {
                let _ = answer.send(Err(WriteError::Silent));
            }
        }
        Err(WriteError::Database(error)) if shared::database::is_unreachable(&error) => {
            answer_all(answers, &error);
            return Err(error);
        }
        // One of them is the reason, and no other must suffer for it.
        Err(_) => {
            for (row, answer) in rows.into_iter().zip(answers) {
                let inserted = insert(pool, patience, &[row]).await;
                let _ = answer.send(inserted.map(|inserted| inserted == [true]));
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

fn answer_all(
    answers: impl IntoIterator<Item = oneshot::Sender<Result<bool, WriteError>>>,
    error: &Arc<sqlx::Error>,
) {
    for answer in answers {
        let _ = answer.send(Err(WriteError::Database(Arc::clone(error))));
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
        rows.into_iter().map(|row| Waiting { row, answer: listened_to() }).collect()
    }

    /// The way to somebody who waits for as long as the process lives.
    fn listened_to() -> oneshot::Sender<Result<bool, WriteError>> {
        let (answer, answered) = oneshot::channel();
        std::mem::forget(answered);
        answer
    }

    fn queue_of(rows: Vec<NewRow>) -> Queue {
        Queue { waiting: waiting(rows), ..Queue::default() }
    }

    fn skus(group: &[Waiting]) -> Vec<&str> {
        group.iter().map(|waiting| waiting.row.product.sku.as_str()).collect()
    }

    #[test]
    fn rows_that_could_be_in_each_others_way_go_one_after_the_other() {
        let mut queue = queue_of(vec![
            row(1, "A", Some("one")),
            row(2, "A", Some("two")),
            row(3, "B", Some("one")),
            row(4, "C", None),
            row(5, "D", None),
        ]);
        assert_eq!(skus(&queue.next_group()), ["A", "C", "D"]);
        // While the first statement is under way, nobody else's may be about the same.
        assert!(queue.next_group().is_empty());
        queue.under_way.clear();
        assert_eq!(skus(&queue.next_group()), ["A", "B"]);
        assert!(queue.waiting.is_empty());
    }

    #[test]
    fn a_group_has_an_upper_bound_and_who_came_first_goes_first() {
        let rows = (0..100).map(|nth| row(nth, &format!("SKU-{nth}"), None)).collect();
        let mut queue = queue_of(rows);
        assert_eq!(queue.next_group().len(), MAX_ROWS);
        assert_eq!(queue.waiting[0].row.product.sku, format!("SKU-{MAX_ROWS}"));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_begun() {
        let mut queue = queue_of(vec![row(1, "A", None)]);
        let (answer, gone) = oneshot::channel();
        drop(gone);
        queue.waiting.push(Waiting { row: row(2, "B", None), answer });
        assert_eq!(skus(&queue.next_group()), ["A"]);
        assert!(queue.next_group().is_empty());
    }

    #[tokio::test]
    async fn when_postgresql_is_away_everybody_who_waits_is_told_at_once() {
        let options = sqlx::postgres::PgConnectOptions::new().host("127.0.0.1").port(1);
        let pool = sqlx::postgres::PgPoolOptions::new()
            .acquire_timeout(Duration::from_millis(500))
            .connect_lazy_with(options);
        let creates = GroupCommit::new(pool);
        let begun = Clock::System.now();
        let inserts = (0..1_000).map(|nth| {
            let (creates, row) = (creates.clone(), row(nth + 1, &format!("SKU-{nth}"), None));
            async move { creates.insert(row).await }
        });
        for answer in futures::future::join_all(inserts).await {
            assert!(matches!(answer, Err(WriteError::Database(_))), "{answer:?}");
        }
        assert!((Clock::System.now() - begun).num_seconds() < 5, "they waited one after the other");
    }

    #[tokio::test]
    async fn statements_that_never_end_keep_nobody_else_waiting() {
        let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
        // Connections that PostgreSQL does not take the statement from, however long it takes.
        let pool = PgPool::connect(&database.url).await.unwrap();
        let creates =
            GroupCommit { patience: Duration::from_millis(300), ..GroupCommit::new(pool) };
        let mut holder = shared::database::begin(&database.pool).await.unwrap();
        let lock = "lock table inventory.products in access exclusive mode";
        sqlx::query(lock).execute(&mut *holder).await.unwrap();
        let stuck = (0..WRITERS as u128 * 2).map(|nth| {
            let (creates, row) = (creates.clone(), row(nth + 1, &format!("SKU-{nth}"), None));
            async move { creates.insert(row).await }
        });
        for answer in futures::future::join_all(stuck).await {
            assert!(matches!(answer, Err(WriteError::Silent)), "{answer:?}");
        }
        holder.rollback().await.unwrap();
        assert!(creates.insert(row(99, "AFTER", None)).await.unwrap());
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_refused() {
        let pool = sqlx::postgres::PgPoolOptions::new()
            .connect_lazy_with(sqlx::postgres::PgConnectOptions::new());
        let creates = GroupCommit::new(pool);
        let rows = (0..4_096).map(|nth| row(nth, &format!("SKU-{nth}"), None)).collect();
        lock(&creates.queue).waiting = waiting(rows);
        let one_more = Waiting { row: row(9_999, "B", None), answer: listened_to() };
        assert!(matches!(creates.enqueue(one_more), Err(WriteError::Busy)));
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
        write(&database.pool, PATIENCE, group).await.unwrap();
        let mut stored = Vec::new();
        for answered in answers {
            stored.push(answered.await.unwrap().ok());
        }
        assert_eq!(stored, [Some(true), None, Some(true)]);
    }

    #[tokio::test]
    async fn each_row_of_a_group_is_answered_for_itself() {
        let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
        let creates = GroupCommit::new(database.pool.clone());
        assert!(creates.insert(row(1, "TAKEN", None)).await.unwrap());
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        for row in [row(2, "TAKEN", None), row(3, "A", None), row(4, "B", None)] {
            let (answer, answered) = oneshot::channel();
            group.push(Waiting { row, answer });
            answers.push(answered);
        }
        write(&database.pool, PATIENCE, group).await.unwrap();
        let mut stored = Vec::new();
        for answered in answers {
            stored.push(answered.await.unwrap().unwrap());
        }
        assert_eq!(stored, [false, true, true]);
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
