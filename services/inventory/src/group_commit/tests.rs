use std::net::SocketAddr;

use chrono::DateTime;
use futures::FutureExt as _;
use serde_json::json;
use shared::bus;
use shared::clock::Clock;
use shared::contract::stock::Stock;
use shared::http::request::RequestContext;
use shared::id::{EventId, Ids, ProductId, SellerId, UserId};
use testkit::{Interference, NO_TIMEOUT, database, eventually, within};

use super::*;
use crate::event::EventRef;
use crate::http::input::SentProduct;
use crate::product::{self, CreateProduct};
use crate::store::idempotency::KeyedRequest;
use crate::store::{Cause, to_json};

fn row(nth: u128, sku: &str, key: Option<&str>) -> NewRow {
    let sent = json!({
        "sku": sku, "name": "Shoe", "category": "shoes",
        "price": {"amount": 1, "currency": "BRL"},
    });
    let sent: SentProduct = serde_json::from_value(sent).unwrap();
    let command = CreateProduct::check(sent.into()).unwrap();
    let user = UserId::from_u128(7);
    let (product, stock) = product::create(
        command,
        SellerId::of_user(user),
        ProductId::from_u128(nth),
        DateTime::UNIX_EPOCH,
    )
    .unwrap();
    let request = RequestContext::background(&Clock::fixed(DateTime::UNIX_EPOCH), &Ids::seeded(1));
    let event_id = EventId::from_u128(nth << 64);
    let key = key.map(|key| KeyedRequest::new("create_product", key.to_owned(), b"body"));
    let event = to_json(&EventRef::created(&product, &stock)).unwrap();
    let cause = Cause { actor: user, event_id, request, reason: None };
    NewRow { product, stock, event, cause, key }
}

fn waiting(rows: Vec<NewRow>) -> Vec<Waiting> {
    rows.into_iter().map(|row| Waiting { row, reply: open_reply() }).collect()
}

/// A reply whose receiver lives as long as the process.
fn open_reply() -> Reply {
    let (reply, receiver) = oneshot::channel();
    std::mem::forget(receiver);
    reply
}

/// Writes rows as one group, and returns the reply to each caller: whether its own row was inserted, or
/// `None` if it failed.
async fn write_group(pool: &PgPool, rows: Vec<NewRow>) -> Vec<Option<bool>> {
    let (mut group, mut receivers) = (Vec::new(), Vec::new());
    for row in rows {
        let (reply, receiver) = oneshot::channel();
        receivers.push((row.product.sku.clone(), receiver));
        group.push(Waiting { row, reply });
    }
    write(pool, NO_TIMEOUT, group).await.unwrap();
    let mut results = Vec::new();
    for (sku, receiver) in receivers {
        results.push(receiver.await.unwrap().ok().map(|(row, inserted)| {
            assert_eq!(row.product.sku, sku, "a caller got the row of another one");
            inserted
        }));
    }
    results
}

/// A row that PostgreSQL refuses, and with it each statement that has it.
fn poisoned(nth: u128, sku: &str) -> NewRow {
    let row = row(nth, sku, None);
    NewRow { stock: Stock { on_hand: -1, ..row.stock.clone() }, ..row }
}

fn queue_of(rows: Vec<NewRow>) -> Queue {
    Queue { waiting: waiting(rows), ..Queue::default() }
}

fn skus(group: &[Waiting]) -> Vec<&str> {
    group.iter().map(|waiting| waiting.row.product.sku.as_str()).collect()
}

#[test]
fn rows_with_a_common_sku_or_key_go_into_different_groups() {
    let mut queue = queue_of(vec![
        row(1, "A", Some("one")),
        row(2, "A", Some("two")),
        row(3, "B", Some("one")),
        row(4, "C", None),
        row(5, "D", None),
    ]);
    assert_eq!(skus(&queue.next_group()), ["A", "C", "D"]);
    // While the first statement is in flight, no other may have its claims.
    assert!(queue.next_group().is_empty());
    queue.in_flight.clear();
    assert_eq!(skus(&queue.next_group()), ["A", "B"]);
    assert!(queue.waiting.is_empty());
}

#[tokio::test]
async fn group_takes_at_most_max_rows_oldest_first() {
    let creates = GroupCommit::new(PgPool::connect_lazy("postgres://127.0.0.1").unwrap());
    // No writer begins.
    lock(&creates.queue).writers = WRITERS;
    for waiting in waiting((0..100).map(|nth| row(nth, &format!("SKU-{nth}"), None)).collect()) {
        assert!(creates.enqueue(waiting).unwrap().is_none());
    }
    let mut queue = lock(&creates.queue);
    let expected: Vec<String> = (0..MAX_ROWS).map(|nth| format!("SKU-{nth}")).collect();
    assert_eq!(skus(&queue.next_group()), expected);
    assert_eq!(queue.waiting[0].row.product.sku, format!("SKU-{MAX_ROWS}"));
}

#[test]
fn write_is_skipped_when_its_caller_has_gone_away() {
    let mut queue = queue_of(vec![row(1, "A", None)]);
    let (reply, gone) = oneshot::channel();
    drop(gone);
    queue.waiting.push(Waiting { row: row(2, "B", None), reply });
    assert_eq!(skus(&queue.next_group()), ["A"]);
    assert!(queue.next_group().is_empty());
}

/// A server that accepts connections and never responds. Returns its address, and the clients of its
/// connections in order.
async fn silent_server() -> (SocketAddr, Arc<Mutex<Vec<SocketAddr>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, clients) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
    let accepted = Arc::clone(&clients);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, client)) = listener.accept().await {
            open.push(connection);
            accepted.lock().unwrap().push(client);
        }
    });
    (address, clients)
}

#[tokio::test]
async fn every_waiting_row_fails_at_once_when_postgresql_is_down() {
    let (address, clients) = silent_server().await;
    let options = sqlx::postgres::PgConnectOptions::new().host("127.0.0.1").port(address.port());
    let pool = sqlx::postgres::PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(100))
        .connect_lazy_with(options);
    let creates = GroupCommit::new(pool);
    let inserts = (0..1_000).map(|nth| {
        let (creates, row) = (creates.clone(), row(nth + 1, &format!("SKU-{nth}"), None));
        async move { creates.insert(row).await }
    });
    // Without a budget, all rows are queued before the first writer runs.
    let inserts = tokio::task::unconstrained(futures::future::join_all(inserts));
    for reply in within("the replies", inserts).await {
        assert!(matches!(reply, Err(WriteError::Store(_))), "{reply:?}");
    }
    // Connections are accepted in order, so this one is the last.
    let last = tokio::net::TcpStream::connect(address).await.unwrap().local_addr().unwrap();
    let before_the_last = async || clients.lock().unwrap().iter().position(|one| *one == last);
    let connections = eventually("the last connection", before_the_last).await;
    assert!(connections <= WRITERS, "the rows waited one after the other: {connections}");
}

#[tokio::test]
async fn later_rows_are_written_after_statements_that_hang() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    // These connections have no statement timeout.
    let pool = PgPool::connect(&database.url).await.unwrap();
    let creates = GroupCommit { timeout: Duration::from_millis(300), ..GroupCommit::new(pool) };
    let mut holder = database.pool.begin().await.unwrap();
    let lock = "lock table inventory.products in access exclusive mode";
    sqlx::query(lock).execute(&mut *holder).await.unwrap();
    let stuck = (0..WRITERS as u128 * 2).map(|nth| {
        let (creates, row) = (creates.clone(), row(nth + 1, &format!("SKU-{nth}"), None));
        async move { creates.insert(row).await }
    });
    for reply in futures::future::join_all(stuck).await {
        assert!(matches!(reply, Err(WriteError::Silent)), "{reply:?}");
    }
    holder.rollback().await.unwrap();
    // The next row gets a writer of its own, which has time for it.
    writers_end(&creates).await;
    let patient = GroupCommit { timeout: NO_TIMEOUT, ..creates };
    assert!(patient.insert(row(99, "AFTER", None)).await.unwrap().1);
}

#[tokio::test]
async fn row_is_refused_when_the_queue_is_full() {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .connect_lazy_with(sqlx::postgres::PgConnectOptions::new());
    let creates = GroupCommit::new(pool);
    let rows = (0..4_096).map(|nth| row(nth, &format!("SKU-{nth}"), None)).collect();
    lock(&creates.queue).waiting = waiting(rows);
    let one_more = Waiting { row: row(9_999, "B", None), reply: open_reply() };
    assert!(matches!(creates.enqueue(one_more), Err(WriteError::Busy)));
}

// No two rows of a group may have the same reply from both of its ends: replies in the reverse order would
// look right.

#[tokio::test]
async fn invalid_row_does_not_fail_the_rest_of_its_group() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let creates = GroupCommit::new(database.pool.clone());
    assert!(creates.insert(row(1, "TAKEN", None)).await.unwrap().1);
    let group = vec![
        row(2, "A", None),
        poisoned(3, "POISON"),
        row(4, "B", None),
        row(5, "TAKEN", None),
        poisoned(6, "VENOM"),
        row(7, "C", None),
        row(8, "D", None),
    ];
    let stored = write_group(&database.pool, group).await;
    assert_eq!(stored, [Some(true), None, Some(true), Some(false), None, Some(true), Some(true)]);
    let skus: Vec<String> = sqlx::query_scalar("select sku from inventory.products order by id")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(skus, ["TAKEN", "A", "B", "C", "D"]);
}

#[tokio::test]
async fn each_row_of_a_group_gets_its_own_reply() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let creates = GroupCommit::new(database.pool.clone());
    assert!(creates.insert(row(1, "TAKEN", None)).await.unwrap().1);
    let group =
        vec![row(9, "Z", None), row(2, "TAKEN", None), row(3, "A", None), row(4, "B", None)];
    let stored = write_group(&database.pool, group).await;
    assert_eq!(stored, [Some(true), Some(false), Some(true), Some(true)]);
}

#[tokio::test]
async fn concurrent_rows_are_all_written_and_the_writers_end() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let creates = GroupCommit::new(database.pool.clone());
    let inserts = (0..300).map(|nth| {
        let creates = creates.clone();
        // Each SKU twice: one of the two is refused.
        let row = row(nth + 1, &format!("SKU-{}", nth % 150), None);
        async move {
            let (own, inserted) = creates.insert(row.clone()).await.unwrap();
            assert_eq!(own.product, row.product);
            (row.product, inserted)
        }
    });
    let replies = futures::future::join_all(inserts).await;
    let inserted = replies.into_iter().filter(|(_, inserted)| *inserted);
    let mut inserted: Vec<(ProductId, String)> =
        inserted.map(|(product, _)| (product.id, product.sku)).collect();
    inserted.sort();
    assert_eq!(inserted.len(), 150);
    // The callers that got a yes are those whose rows are there.
    let stored: Vec<(ProductId, String)> =
        sqlx::query_as("select id, sku from inventory.products order by id")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(inserted, stored);
    writers_end(&creates).await;
}

async fn writers_end(creates: &GroupCommit) {
    eventually("the end of the writers", async || {
        (lock(&creates.queue).writers == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn writer_that_panics_gives_back_its_place_and_its_claims() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let creates = GroupCommit::new(database.pool.clone());
    let panics = u32::try_from(WRITERS).unwrap() + 1;
    Interference::at("create.taken", panics, |_| {
        async { panic!("planted: a writer panics with its group") }.boxed()
    });
    for _ in 0..panics {
        let lost = within("the reply", creates.insert(row(1, "A", Some("one")))).await;
        assert!(matches!(lost, Err(WriteError::Lost)), "{lost:?}");
        let queue = lock(&creates.queue);
        assert_eq!((queue.writers, queue.in_flight.len()), (0, 0));
    }
    // The same SKU and the same key.
    let inserted = within("the reply", creates.insert(row(1, "A", Some("one")))).await;
    assert!(inserted.unwrap().1);
}

/// Lets each insert of products fail with an error code, and counts the statements.
async fn fail_inserts(pool: &PgPool, code: &'static str) {
    let fail = format!(
        "create function fail() returns trigger language plpgsql as $$
         begin
             perform nextval('statements');
             raise exception 'planted' using errcode = '{code}';
         end $$"
    );
    sqlx::query("create sequence statements").execute(pool).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(fail)).execute(pool).await.unwrap();
    let trigger = "create trigger fail before insert on inventory.products
                   for each statement execute function fail()";
    sqlx::query(trigger).execute(pool).await.unwrap();
}

#[tokio::test]
async fn group_that_takes_too_long_is_not_written_row_by_row() {
    // 57014: the statement timeout. 55P03: a lock was not free in time, perhaps for one row alone, or two.
    for (code, expected) in [("57014", 1), ("55P03", 3), ("23514", 6)] {
        let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
        fail_inserts(&database.pool, code).await;
        let group = ["A", "B", "C", "D", "E"].into_iter().zip(1..);
        let group = group.map(|(sku, nth)| row(nth, sku, None)).collect();
        assert_eq!(write_group(&database.pool, group).await, [None; 5]);
        let statements = sqlx::query_scalar("select last_value from statements");
        let statements: i64 = statements.fetch_one(&database.pool).await.unwrap();
        assert_eq!(statements, expected, "{code}");
    }
}

#[tokio::test]
async fn row_that_waits_in_vain_does_not_fail_the_rest() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    for statement in [
        "create function wait() returns trigger language plpgsql as $$
         begin raise exception 'planted' using errcode = 'lock_not_available'; end $$",
        "create trigger wait before insert on inventory.products
         for each row when (new.sku = 'LOCKED') execute function wait()",
    ] {
        sqlx::query(statement).execute(&database.pool).await.unwrap();
    }
    let group = vec![row(1, "LOCKED", None), row(2, "A", None), row(3, "B", None)];
    let stored = write_group(&database.pool, group).await;
    assert_eq!(stored, [None, Some(true), Some(true)]);
}

#[tokio::test]
async fn row_whose_caller_has_gone_is_skipped_when_a_group_is_split() {
    let database = database(&[&bus::MIGRATOR, &crate::MIGRATOR]).await;
    let mut group = waiting(vec![row(1, "A", None), poisoned(2, "POISON"), row(4, "C", None)]);
    let (reply, gone) = oneshot::channel();
    drop(gone);
    group.insert(2, Waiting { row: row(3, "GONE", None), reply });
    write(&database.pool, NO_TIMEOUT, group).await.unwrap();
    let skus: Vec<String> = sqlx::query_scalar("select sku from inventory.products order by id")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(skus, ["A", "C"]);
}
