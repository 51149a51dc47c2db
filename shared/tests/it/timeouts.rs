//! What every service ends by itself: requests, shutdowns and the waits of database sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use chrono::DateTime;
use shared::bus;
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::config::Secret;
use shared::contract::routes::CATALOG_QUEUE;
use shared::database::{DatabaseConfig, connect};
use shared::host::intake;
use shared::host::server::{serve, with_standard_layers};
use shared::id::Ids;
use testkit::{Call, Hang, database, eventually, skip_until, within};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::handlers::{ByPosition, inventory_event};

fn clock() -> Clock {
    Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

#[tokio::test(start_paused = true)]
async fn request_may_take_up_to_thirty_seconds() {
    let handler = |millis| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        "done"
    };
    let router = Router::new()
        .route("/slow", get(move || handler(29_999)))
        .route("/endless", get(move || handler(3_600_000)));
    let router = with_standard_layers(router, &clock(), &Ids::seeded(1));
    assert_eq!(Call::get("/slow").send(&router).await.expect(200).text, "done");
    let begun = tokio::time::Instant::now();
    Call::get("/endless").send(&router).await.expect(503);
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}

#[tokio::test]
async fn shutdown_waits_ten_seconds_for_requests_in_flight() {
    let (hang, entered) = (Hang::default(), Arc::new(Notify::new()));
    let (hanging, entering) = (hang.clone(), Arc::clone(&entered));
    let handler = move || async move {
        entering.notify_one();
        // From here on the time of the runtime advances by itself.
        hanging.wait::<&str>().await
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let stop = CancellationToken::new();
    let serving =
        tokio::spawn(serve(listener, Router::new().route("/", get(handler)), stop.clone()));
    within("the request", entered.notified()).await;
    // Paused time: by the handler.
    let begun = tokio::time::Instant::now();
    stop.cancel();
    serving.await.unwrap();
    // In whole seconds: timers of the runtime are up to a millisecond late.
    assert_eq!(begun.elapsed().as_secs(), 10);
    drop(client);
}

#[tokio::test]
async fn session_waits_five_seconds_and_two_for_a_lock() {
    let database = database(&[&bus::MIGRATOR]).await;
    let url = Secret::new(database.url.clone());
    let pool = connect(&DatabaseConfig::new(url, 1, "vitrina tests")).unwrap();
    assert_eq!(pool.options().get_acquire_timeout(), Duration::from_secs(2));
    let mut shown = Vec::new();
    for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        let show = sqlx::AssertSqlSafe(format!("show {name}"));
        shown.push(sqlx::query_scalar::<_, String>(show).fetch_one(&pool).await.unwrap());
    }
    assert_eq!(shown, ["5s", "2s", "5s"]);
}

#[tokio::test]
async fn consumer_polls_without_a_nudge_and_expires_every_hour() {
    let database = database(&[&bus::MIGRATOR]).await;
    let clock = clock();
    let queue = Queue::new(database.pool.clone(), clock.clone(), CATALOG_QUEUE);
    // Invisible, so that only the expiry takes it.
    let send = async |position: i64, age: Duration, visible_in: Duration| {
        sqlx::query(
            "insert into bus.messages
                 (queue, event_id, event_type, subject, body, sent_at, visible_at)
             values ($1, $2, 'ProductUpdated', $2, $3, $4, $5)",
        )
        .bind(CATALOG_QUEUE)
        .bind(uuid::Uuid::from_u128(position.unsigned_abs().into()))
        .bind(inventory_event(position).to_string())
        .bind(clock.now() - age)
        .bind(clock.now() + visible_in)
        .execute(&database.pool)
        .await
        .unwrap();
    };
    let depth = async || {
        let depth = queue.depth().await.unwrap();
        (depth.visible, depth.in_flight, depth.dead_letters)
    };
    let (old, hidden) = (Duration::from_hours(20 * 24), Duration::from_mins(1));
    let (handler, stop) = (ByPosition::new(|_| Ok(())), CancellationToken::new());
    send(1, old, hidden).await;
    let consuming =
        intake::consume(queue.clone(), clock.clone(), &handler, Arc::default(), stop.clone());
    let testing = async {
        eventually("the first expiry", async || (depth().await == (0, 0, 1)).then_some(())).await;
        for position in [2, 3] {
            send(position, Duration::ZERO, Duration::ZERO).await;
            eventually("the poll", async || (depth().await == (0, 0, 1)).then_some(())).await;
        }
        send(4, old, hidden).await;
        let expired = async || depth().await == (0, 0, 2);
        let waited = skip_until("the next expiry", Duration::from_mins(2), expired).await;
        // Less than an interval, since it began before the message was sent.
        assert!(waited >= Duration::from_mins(55), "{waited:?}");
        stop.cancel();
    };
    tokio::join!(consuming, testing);
}
