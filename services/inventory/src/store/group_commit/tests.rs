use chrono::{DateTime, Utc};
use serde_json::json;
use shared::bus;
use shared::clock::Clock;
use shared::contract::stock::Stock;
use shared::http::request::RequestContext;
use shared::id::Ids;
use testkit::database;

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
    let request = RequestContext::background(&Clock::fixed(DateTime::UNIX_EPOCH), &Ids::seeded(1));
    let event_id = Uuid::from_u128(nth << 64);
    let key = key.map(|key| KeyedRequest::new("create_product", key.to_owned(), b"body"));
    NewRow { product, stock, cause: Cause { actor: seller, event_id, request, reason: None }, key }
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

/// Writes three rows as one group, and returns what each was answered.
async fn write_group(pool: &PgPool, rows: [NewRow; 3]) -> [Result<bool, WriteError>; 3] {
    let (mut group, mut answers) = (Vec::new(), Vec::new());
    for row in rows {
        let (answer, answered) = oneshot::channel();
        group.push(Waiting { row, answer });
        answers.push(answered);
    }
    write(pool, PATIENCE, group).await.unwrap();
    let mut answered = Vec::new();
    for answer in answers {
        answered.push(answer.await.unwrap());
    }
    answered.try_into().unwrap()
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
    let creates = GroupCommit { patience: Duration::from_millis(300), ..GroupCommit::new(pool) };
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
    let group = [row(1, "A", None), poisoned, row(2, "B", None)];
    let stored = write_group(&database.pool, group).await;
    assert_eq!(stored.map(Result::ok), [Some(true), None, Some(true)]);
}

#[tokio::test]
async fn each_row_of_a_group_is_answered_for_itself() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let creates = GroupCommit::new(database.pool.clone());
    assert!(creates.insert(row(1, "TAKEN", None)).await.unwrap());
    let group = [row(2, "TAKEN", None), row(3, "A", None), row(4, "B", None)];
    let stored = write_group(&database.pool, group).await;
    assert_eq!(stored.map(Result::unwrap), [false, true, true]);
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
