//! Background work that fails is counted under its name, each round once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use shared::host::tick::{self, Progress};
use shared::host::{Work as _, intake};
use shared::outbox::publish_before_responses;
use testkit::Call;
use tokio_util::sync::CancellationToken;

use super::metrics::{Samples, assert_samples, record};
use super::situation::{Situation, identity_app};
use crate::sources::{production_files, production_text};

pub(super) const FAILURES: Samples = &[
    ("vitrina_background_failures_total{work=\"expire\"}", "1"),
    ("vitrina_background_failures_total{work=\"forget\"}", "1"),
    ("vitrina_background_failures_total{work=\"intake\"}", "1"),
    ("vitrina_background_failures_total{work=\"measure\"}", "1"),
    ("vitrina_background_failures_total{work=\"reading a stored event\"}", "2"),
    ("vitrina_background_failures_total{work=\"reconcile\"}", "1"),
    ("vitrina_background_failures_total{work=\"relay\"}", "1"),
    ("vitrina_background_failures_total{work=\"relay before the response\"}", "1"),
    ("vitrina_background_failures_total{work=\"repair\"}", "1"),
    ("vitrina_background_failures_total{work=\"tidy\"}", "1"),
];

#[tokio::test]
async fn failures_are_counted_by_the_work_that_failed() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = it.create_many(3, 1_000).await;
    let strange = "update inventory.journal set event = '{\"type\": \"FromTheFuture\"}'
                   where aggregate_id = any($1)";
    it.execute_for(strange, &ids[1..]).await;
    it.publish().await;
    let stop = CancellationToken::new();
    stop.cancel();
    it.database.pool.close().await;
    it.reconciler.clone().run(Arc::default(), stop.clone()).await;
    it.relay.clone().run(Arc::default(), stop.clone()).await;
    let (queue, clock) = (it.queue.clone(), it.clocks.queue.clone());
    intake::consume(queue, clock, &it.projector, Arc::default(), stop.clone()).await;
    let (_folder, identity) = identity_app(it.database.pool.clone());
    identity::delete_expired::run(identity, stop.clone()).await;
    let write = Router::new().route("/", post(async || {}));
    let write = publish_before_responses(write, it.relay.clone().into_events());
    Call::post("/").send(&write).await.expect(200);
    assert_samples(&recorder.render(), FAILURES);
    // A round that succeeds is no failure.
    let work = || async { Ok::<_, Infallible>(Progress::Idle) };
    tick::run("successful", Duration::ZERO, Arc::default(), stop, work).await;
    assert_samples(&recorder.render(), FAILURES);
}

/// A round that nothing but the whole edition does.
const OF_THE_EDITION: &str = "table";

#[test]
fn every_background_work_has_a_sample_of_its_failures() {
    let mut works = BTreeSet::new();
    for path in production_files() {
        let code = production_text(&fs::read_to_string(&path).unwrap());
        for call in ["tick::run(\"", "telemetry::failed(\""] {
            let names = code.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            works.extend(names.map(ToOwned::to_owned));
        }
    }
    let label = |sample: &str| sample.split('"').nth(1).unwrap().to_owned();
    let sampled = FAILURES.iter().map(|(sample, _)| label(sample));
    let expected: BTreeSet<String> = sampled.chain([OF_THE_EDITION.to_owned()]).collect();
    assert_eq!(works, expected);
}
