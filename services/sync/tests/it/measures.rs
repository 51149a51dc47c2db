//! The age of the oldest comparison, which alarms rest on: it is measured whatever becomes of the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::database::connect;
use shared::host::Work as _;
use shared::host::metrics_recorder;
use sync::Reconciler;
use testkit::{
    DynamoFault, Faults, MAX_WAIT, PostgresFault, faulty_dynamodb, faulty_postgres, patient_config,
};
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, settings};

/// The gauge on a page of metrics, if it was set.
fn age(page: &str) -> Option<String> {
    let mut lines = page.lines();
    lines
        .find_map(|line| line.strip_prefix("vitrina_buckets_oldest_checked_seconds "))
        .map(ToOwned::to_owned)
}

#[tokio::test]
async fn age_of_the_oldest_check_grows_while_work_fails() {
    let recorder = metrics_recorder::build();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let recorder = recorder.handle();
    let bed = TestBed::new().await;
    let line = faulty_postgres(&bed.database.url).await;
    let pool = connect(&patient_config(line.url.clone(), 1)).unwrap();
    let faults = Faults::default();
    let (client, clock) = (faulty_dynamodb(&bed.client, &faults), bed.clock.clone());
    let reconciler = Reconciler::new(pool, client, TABLE, clock, bed.ids.clone());
    let reconciler = reconciler.with_settings(settings());
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    bed.leave_only(id, &[7]).await;
    assert_eq!(age(&recorder.render()), None);

    let until = async || {
        // Real time: a deadline that is never reached.
        reconciler.until(Instant::now() + 2 * MAX_WAIT).await
    };
    bed.clock.advance(Duration::from_millis(40_125));
    faults.plan(|call| call.starts_with("Query ").then_some(DynamoFault::INTERNAL));
    assert!(until().await.is_err(), "the listings cannot be read");
    assert_eq!(age(&recorder.render()).as_deref(), Some("40.125"));

    bed.clock.advance(Duration::from_mins(1));
    line.faults.once_after(0, PostgresFault::Refused("57014"));
    assert!(until().await.is_err(), "the run cannot be read");
    assert_eq!(age(&recorder.render()).as_deref(), Some("100.125"));

    // A process that is about to stop, so that it makes one round.
    let stop = CancellationToken::new();
    stop.cancel();
    bed.clock.advance(Duration::from_secs(100));
    line.faults.once_after(0, PostgresFault::Refused("57014"));
    reconciler.clone().run(Arc::default(), stop.clone()).await;
    let page = recorder.render();
    let failures = "vitrina_background_failures_total{work=\"reconcile\"} 1";
    assert!(page.lines().any(|line| line == failures), "the round fails: {page}");
    assert_eq!(age(&page).as_deref(), Some("200.125"));

    // A round that succeeds, and one whose measure fails, which is a failure of the round.
    bed.clock.advance(Duration::from_secs(100));
    let before = line.faults.calls();
    reconciler.clone().run(Arc::default(), stop.clone()).await;
    let calls = line.faults.calls() - before;
    let page = recorder.render();
    assert!(page.lines().any(|line| line == failures), "the round succeeds: {page}");
    assert_eq!(age(&page).as_deref(), Some("300.125"));
    // The measure is the last call of a round.
    line.faults.once_after(calls - 1, PostgresFault::Refused("57014"));
    reconciler.run(Arc::default(), stop).await;
    let page = recorder.render();
    assert!(page.lines().any(|line| line == failures.replace("} 1", "} 2")), "{page}");
}
