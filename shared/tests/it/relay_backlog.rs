//! A relay with more to publish than one round takes.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use shared::bus::postgres::PgBus;
use shared::host::metrics_recorder;
use shared::outbox::{Relay, RelayError, publish_before_responses};
use sqlx::PgPool;
use testkit::{Call, PATIENT_RELAY, TestDatabase, set_back};
use uuid::Uuid;

use crate::second_producer::{
    ParcelOutbox, TWO_PRODUCERS, commit, fixed_clock, producer_database, sent,
};

/// A producer with this number of pending events, and its relay and clock.
async fn pending(count: u128) -> (TestDatabase, Relay<ParcelOutbox, PgBus>, shared::clock::Clock) {
    let (database, clock) = (producer_database().await, fixed_clock());
    let events: Vec<_> = (1..=count).map(sent).collect();
    commit(&database.pool, clock.now(), &events).await;
    let pool = database.pool.clone();
    let bus = PgBus::new(pool.clone(), clock.clone(), TWO_PRODUCERS);
    let relay = Relay::new(ParcelOutbox, pool, bus, clock.clone()).with_timeouts(PATIENT_RELAY);
    (database, relay, clock)
}

/// The numbers of the published events, in their order.
async fn published(pool: &PgPool) -> Vec<u128> {
    let subjects = sqlx::query_scalar("select subject from bus.messages order by id");
    let subjects: Vec<Uuid> = subjects.fetch_all(pool).await.unwrap();
    subjects.iter().map(Uuid::as_u128).collect()
}

#[tokio::test]
async fn drain_stops_at_its_deadline_within_a_backlog() {
    let (database, relay, _) = pending(210).await;
    let error = relay.drain(Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::Pending { pending: 110, requested: 0 }), "{error:?}");
    assert_eq!(published(&database.pool).await, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn response_publishes_the_ten_oldest_events() {
    let (database, relay, _) = pending(23).await;
    let handler = post(async || StatusCode::CREATED);
    let api = publish_before_responses(Router::new().route("/", handler), relay.clone());
    for expected in [10, 20, 23, 23] {
        Call::post("/").send(&api).await.expect(201);
        assert_eq!(published(&database.pool).await, (1..=expected).collect::<Vec<_>>());
    }
    assert_eq!(relay.measure().await.unwrap().pending, 0);
}

#[tokio::test]
async fn age_of_pending_events_is_zero_when_a_clock_is_set_back() {
    let recorder = metrics_recorder::build();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (_database, relay, clock) = pending(2).await;
    let assert_age = |age: &str| {
        let page = recorder.handle().render();
        for line in [
            format!("vitrina_outbox_oldest_pending_seconds {age}"),
            "vitrina_outbox_pending 2".to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
    };
    clock.advance(Duration::from_millis(2_500));
    relay.measure().await.unwrap();
    assert_age("2.5");
    set_back(&clock, Duration::from_hours(1));
    relay.measure().await.unwrap();
    assert_age("0");
}
