//! Every metric of the catalogue, with its value and labels in a situation that the test made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::routing::get;
use catalog::Projector;
use futures::FutureExt as _;
use serde_json::json;
use shared::bus::message::Outcome;
use shared::clock::Clock;
use shared::config::Secret;
use shared::host::Work as _;
use shared::host::health::{self, Health};
use shared::host::server::with_standard_layers;
use shared::id::Ids;
use shared::metrics::Kind;
use shared::money::Currency;
use testkit::{
    Call, Calls, Interference, MAX_WAIT, PATIENT_RELAY, database, dynamodb, stale_dynamodb,
};
use tokio_util::sync::CancellationToken;

use super::background_failures::FAILURES;
use super::situation::{OPERATOR, RefusingBus, Situation, TABLE, advance, at, identity_app};

/// Samples as `/metrics` shows them, with their values.
pub(super) type Samples = &'static [(&'static str, &'static str)];

/// What each situation of this file leaves behind. A situation asserts all samples of the metrics that
/// it names.
const SITUATIONS: [Samples; 9] =
    [OUTBOX, LAG, MESSAGES, RACES, DAMAGED, QUEUES, RECONCILIATION, FAILURES, REUSED_TOKENS];

/// The metric that a sample belongs to.
fn metric_of(sample: &str) -> &str {
    let name = sample.split('{').next().unwrap();
    let parts = ["_bucket", "_sum", "_count"];
    let whole = parts.iter().find_map(|part| name.strip_suffix(part));
    whole.filter(|whole| shared::metrics::find(whole).is_some()).unwrap_or(name)
}

/// Samples of these metrics, except for the buckets of histograms.
fn samples(page: &str, metrics: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let samples = lines.filter_map(|line| line.rsplit_once(' '));
    let wanted = samples.filter(|(sample, _)| metrics.contains(metric_of(sample)));
    wanted.map(|(sample, value)| (sample.to_owned(), value.to_owned())).collect()
}

/// Asserts all samples of the metrics that `expected` names, and that there are no others.
#[track_caller]
pub(super) fn assert_samples(page: &str, expected: &[(&str, &str)]) {
    let metrics: BTreeSet<&str> = expected.iter().map(|(sample, _)| metric_of(sample)).collect();
    for metric in &metrics {
        let kind = match shared::metrics::find(metric).unwrap().kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let line = format!("# TYPE {metric} {kind}");
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    let owned = |(sample, value): &(&str, &str)| ((*sample).to_owned(), (*value).to_owned());
    let expected: BTreeMap<String, String> = expected.iter().map(owned).collect();
    assert_eq!(samples(page, &metrics), expected);
}

/// Records the metrics of this thread until the end of the test.
macro_rules! record {
    ($recorder:ident) => {
        let $recorder = shared::host::metrics_recorder::build();
        let _recording = metrics::set_default_local_recorder(&$recorder);
        let $recorder = $recorder.handle();
    };
}
pub(super) use record;

#[test]
fn every_metric_has_its_value_in_a_situation_and_no_other() {
    let covered: BTreeSet<&str> = SITUATIONS
        .iter()
        .flat_map(|samples| samples.iter().map(|(sample, _)| metric_of(sample)))
        .chain([shared::metrics::HTTP_REQUEST_SECONDS])
        .collect();
    let listed: BTreeSet<&str> = shared::metrics::CATALOGUE.iter().map(|it| it.name).collect();
    let missing: Vec<&&str> = listed.difference(&covered).collect();
    assert!(missing.is_empty(), "give a value to {missing:?} in a situation of this file");
    let unknown: Vec<&&str> = covered.difference(&listed).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in the catalogue");
}

const OUTBOX: Samples = &[
    ("vitrina_events_published_total", "3"),
    ("vitrina_events_refused_total", "2"),
    ("vitrina_outbox_pending", "2"),
    ("vitrina_outbox_oldest_pending_seconds", "87.25"),
];

#[tokio::test]
async fn outbox_metrics_count_and_date_what_is_pending() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(5, 10_000).await;
    let refused = Arc::new(Mutex::new(vec![ids[1].uuid(), ids[3].uuid()]));
    let bus = RefusingBus { inner: it.bus.clone(), refused: Arc::clone(&refused) };
    let clock = it.clocks.relay.clone();
    let relay = inventory::relay::Relay::new(it.database.pool.clone(), bus, clock, it.ids.clone())
        .with_timeouts(PATIENT_RELAY)
        .into_events();
    advance(&it.clocks.relay, 96_000);
    relay.once().await.unwrap();
    relay.measure().await.unwrap();
    // The second product was committed at 10.25 s, and the relay's clock shows 97.5 s.
    assert_samples(&recorder.render(), OUTBOX);

    refused.lock().unwrap().clear();
    advance(&it.clocks.relay, 1_000);
    relay.once().await.unwrap();
    relay.measure().await.unwrap();
    assert_samples(
        &recorder.render(),
        &[
            ("vitrina_events_published_total", "5"),
            ("vitrina_events_refused_total", "2"),
            ("vitrina_outbox_pending", "0"),
            ("vitrina_outbox_oldest_pending_seconds", "0"),
        ],
    );
}

const LAG: Samples = &[("vitrina_lag_seconds_sum", "73.25"), ("vitrina_lag_seconds_count", "4")];

#[tokio::test]
async fn lag_is_from_the_commit_to_the_listing_without_repairs() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(3, 10_000).await;
    it.publish().await;
    advance(&it.clocks.projector, 30_000);
    // Each put takes as long, so the listings are there at 33.125 s, 33.375 s and 33.625 s. The commits
    // are at 0.25 s, 10.25 s and 20.25 s.
    let clock = it.clocks.projector.clone();
    Interference::at("projector.put", u32::MAX, move |_| {
        advance(&clock, 250);
        std::future::ready(()).boxed()
    });
    it.project().await;
    assert_samples(
        &recorder.render(),
        &[("vitrina_lag_seconds_sum", "69.375"), ("vitrina_lag_seconds_count", "3")],
    );
    it.remove_listing(ids[0]).await;
    it.execute_for("select inventory.republish($1, array[0], array[0], '2027-01-01Z')", &ids[..1])
        .await;
    it.publish().await;
    it.project().await;
    assert_eq!(it.listing(ids[0]).await["product_version"], AttributeValue::N("1".to_owned()));
    // Committed at 30.25 s, and put after the repair, at 34.125 s.
    it.set_stock(ids[1], 6).await;
    it.publish().await;
    it.project().await;
    assert_samples(&recorder.render(), LAG);
}

const MESSAGES: Samples =
    &[("vitrina_events_ignored_total", "4"), ("vitrina_events_buried_total", "10")];

#[tokio::test]
async fn ignored_and_buried_messages_are_counted_one_by_one() {
    record!(recorder);
    let it = Situation::new().await;
    let id = it.create(0).await;
    for on_hand in 10..20 {
        it.set_stock(id, on_hand).await;
    }
    it.publish().await;
    // Of eleven messages two stay good.
    it.execute(
        "update bus.messages set body = replace(body, 'StockChanged', 'FromTheFuture')
         where id in (select id from bus.messages order by id offset 1 limit 4)",
    )
    .await;
    it.execute(
        "update bus.messages set body = '#' || body
         where id in (select id from bus.messages order by id offset 5 limit 5)",
    )
    .await;
    it.project().await;
    assert_samples(&recorder.render(), &[("vitrina_events_buried_total", "5")]);
    // Two more crash their consumer each time, so that none of their attempts is settled.
    it.set_stock(id, 20).await;
    it.set_stock(id, 21).await;
    it.publish().await;
    for _ in 0..5 {
        assert_eq!(it.queue.receive(10).await.unwrap().len(), 2);
        advance(&it.clocks.queue, 31_000);
    }
    it.project().await;
    assert_samples(&recorder.render(), &[("vitrina_events_buried_total", "7")]);
    // Three more wait for too long.
    for on_hand in 22..25 {
        it.set_stock(id, on_hand).await;
    }
    it.publish().await;
    advance(&it.clocks.queue, 15 * 24 * 60 * 60 * 1_000);
    assert_eq!(it.queue.expire().await.unwrap(), (3, 0));
    assert_samples(&recorder.render(), MESSAGES);
}

const RACES: Samples = &[("vitrina_projection_races_total", "2")];

#[tokio::test]
async fn each_write_lost_to_another_projector_is_a_race() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(3, 1_000).await;
    it.publish().await;
    it.project().await;
    let before = recorder.render();
    assert!(!before.contains("vitrina_projection_races_total"), "{before}");
    for id in &ids[..2] {
        it.set_stock(*id, 9).await;
    }
    it.publish().await;
    // Its first read shows no listing, so that its first write of each loses.
    let replica = dynamodb().await;
    catalog::table::ensure(&replica.client, TABLE).await.unwrap();
    let stale = stale_dynamodb(&it.client, &replica.endpoint, &Calls::default());
    let late = Projector::new(stale, TABLE, it.clocks.projector.clone());
    it.project_with(&late).await;
    assert_samples(&recorder.render(), RACES);
}

const DAMAGED: Samples = &[("vitrina_listings_damaged_total", "3")];

#[tokio::test]
async fn each_damaged_listing_of_a_page_is_counted() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(4, 1_000).await;
    it.publish().await;
    it.project().await;
    for id in &ids[..3] {
        it.overwrite(*id, "name", AttributeValue::Bool(true)).await;
    }
    let currency: Currency = "BRL".parse().unwrap();
    let api = catalog::router(catalog::App::new(it.client.clone(), TABLE, currency));
    let page = Call::get("/v1/catalog/products").send(&api).await.expect(200);
    assert_eq!(page.json["data"].as_array().unwrap().len(), 1, "{}", page.text);
    assert_samples(&recorder.render(), DAMAGED);
}

const QUEUES: Samples = &[
    ("vitrina_queue_visible{queue=\"catalog\"}", "3"),
    ("vitrina_queue_in_flight{queue=\"catalog\"}", "2"),
    ("vitrina_dead_letters{queue=\"catalog\"}", "1"),
];

#[tokio::test]
async fn queue_gauges_are_set_when_the_metrics_are_read() {
    record!(recorder);
    let it = Situation::new().await;
    it.create_many(6, 1_000).await;
    it.publish().await;
    let dead = Outcome::Dead { reason: "planted".to_owned() };
    let first = it.queue.receive(1).await.unwrap().remove(0);
    it.queue.settle(vec![(first, dead)]).await.unwrap();
    assert_eq!(it.queue.receive(2).await.unwrap().len(), 2);
    let health = Health { queues: vec![it.queue.clone()], ..Health::default() };
    let router = Router::from(health::routes().with_state(health));
    Call::get("/metrics").send(&router).await.expect(200);
    assert_samples(&recorder.render(), QUEUES);
}

const RECONCILIATION: Samples = &[
    ("vitrina_sync_compared_total", "9"),
    ("vitrina_sync_differences_total", "4"),
    ("vitrina_sync_repaired_total", "3"),
    ("vitrina_buckets_oldest_checked_seconds", "135.5"),
];

#[tokio::test]
async fn reconciliation_metrics_count_products_and_date_checks() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(9, 1_000).await;
    it.publish().await;
    it.project().await;
    it.remove_listing(ids[0]).await;
    it.remove_listing(ids[1]).await;
    it.overwrite(ids[2], "on_hand", AttributeValue::N("8".to_owned())).await;
    // There is no stock to announce again, so that this difference is not repaired.
    it.execute_for("delete from inventory.stock where product_id = any($1)", &ids[3..4]).await;
    it.reconciler.request(OPERATOR, false).await.unwrap();
    // Until a bucket has been compared, its age is that of the first request.
    advance(&it.clocks.reconciler, 40_125);
    let stopped = CancellationToken::new();
    stopped.cancel();
    it.reconciler.clone().run(Arc::default(), stopped).await;
    assert_samples(&recorder.render(), &[("vitrina_buckets_oldest_checked_seconds", "40.125")]);
    it.reconciler.once(&CancellationToken::new()).await.unwrap();
    let (counted, _) = RECONCILIATION.split_at(3);
    assert_samples(&recorder.render(), counted);

    advance(&it.clocks.reconciler, 135_500);
    // It compares eight buckets at the later time. The others were compared at the earlier.
    // Real time: the limit ends a hang.
    it.reconciler.until(Instant::now() + MAX_WAIT).await.unwrap();
    let (_, dated) = RECONCILIATION.split_at(3);
    assert_samples(&recorder.render(), dated);
}

const REUSED_TOKENS: Samples = &[("vitrina_refresh_tokens_reused_total", "2")];

#[tokio::test]
async fn each_session_ended_by_a_used_token_is_counted() {
    record!(recorder);
    let database = database(&[&identity::MIGRATOR]).await;
    let (_folder, app) = identity_app(database.pool.clone());
    let password = "a long sentence";
    identity::demo::ensure_users(&app, &Secret::new(password.to_owned())).await.unwrap();
    let api = identity::router(app);
    let login = json!({"email": "buyer@demo.vitrina.example", "password": password});
    let refresh = async |token: &str| {
        let body = json!({"refresh_token": token});
        Call::post("/v1/auth/refresh").json(&body).send(&api).await
    };
    refresh("unknown").await.expect(401);
    for _ in 0..2 {
        let tokens = Call::post("/v1/auth/login").json(&login).send(&api).await.expect(200);
        let token = tokens.json["refresh_token"].as_str().unwrap();
        refresh(token).await.expect(200);
        refresh(token).await.expect(401);
        // The session has ended already.
        refresh(token).await.expect(401);
    }
    assert_samples(&recorder.render(), REUSED_TOKENS);
}

#[tokio::test]
async fn request_time_is_measured_by_route_method_and_status() {
    record!(recorder);
    let slow = Duration::from_millis(30);
    let handler = move || async move {
        // Real time: the least that is measured.
        tokio::time::sleep(slow).await;
        "done"
    };
    let router = Router::new().route("/slow/{id}", get(handler));
    let router = with_standard_layers(router, &Clock::fixed(at(0)), &Ids::seeded(1));
    // Real time: the most that can be measured.
    let begun = Instant::now();
    for id in 1..=3 {
        Call::get(&format!("/slow/{id}")).send(&router).await.expect(200);
    }
    let took = begun.elapsed();
    for id in 1..=2 {
        Call::put(&format!("/slow/{id}")).send(&router).await.expect(405);
    }
    Call::get("/elsewhere").send(&router).await.expect(404);
    let mut found =
        samples(&recorder.render(), &BTreeSet::from([shared::metrics::HTTP_REQUEST_SECONDS]));
    let labels = "{method=\"GET\",route=\"/slow/{id}\",status=\"200\"}";
    let sum = found[&format!("vitrina_http_request_seconds_sum{labels}")].clone();
    // A sleep may last longer, and a request cannot last longer than what the client saw.
    let sum = Duration::from_secs_f64(sum.parse().unwrap());
    assert!((3 * slow..=took).contains(&sum), "{sum:?}");
    found.retain(|sample, _| !sample.contains("_sum{"));
    let count = |method: &str, route: &str, status: &str| {
        format!(
            "vitrina_http_request_seconds_count\
             {{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        )
    };
    let expected = [
        (count("GET", "/slow/{id}", "200"), "3".to_owned()),
        (count("PUT", "/slow/{id}", "405"), "2".to_owned()),
        (count("GET", "unmatched", "404"), "1".to_owned()),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}
