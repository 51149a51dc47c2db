//! A worker that crashes at any point: its finished work stays, the next worker does the rest, and
//! nothing is done or counted twice.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use shared::id::ProductId;
use sync::{Settings, State};
use testkit::RandomRuns;
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TestBed, n, s, settings};

/// The default number of crashes.
const CRASHES: u64 = 10;
const SEED: u64 = 29;

/// Enough for several products in a bucket, each of which is a page.
const PRODUCTS: usize = 200;

/// How many products drift in a run.
const DRIFTED: usize = 15;

/// The most polls of a worker before it crashes.
const MAX_POLLS: u32 = 500;

/// Polls `work` up to `polls` times and then drops it at its current await point, as a crash does.
/// Returns its output if it finished before.
async fn crash_after<T>(polls: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Makes some listings differ from their products and counts them by kind: missing, altered, stock.
async fn plant(bed: &TestBed, ids: &[ProductId], rng: &mut StdRng) -> [i64; 3] {
    let mut planted = [0; 3];
    for (nth, id) in ids.sample(rng, DRIFTED).enumerate() {
        match nth % 3 {
            0 => bed.remove(*id).await,
            1 => bed.overwrite_attribute(*id, "name", s("Stolen shoe")).await,
            _ => bed.overwrite_attribute(*id, "on_hand", n(1_000)).await,
        }
        planted[nth % 3] += 1;
    }
    planted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashed_worker_is_resumed_with_each_page_counted_once() {
    let RandomRuns { count, seed } = RandomRuns::from_env(CRASHES, SEED);
    eprintln!("{count} crashes from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (bed, ids) = TestBed::with_products(PRODUCTS).await;
    let reconciler =
        bed.reconciler.clone().with_settings(Settings { page: 1, slice: 0, ..settings() });
    let stop = CancellationToken::new();
    let (mut crashes, mut runs, mut resumed) = (0, 0, 0);
    while crashes < count {
        let planted = plant(&bed, &ids, &mut rng).await;
        let id = reconciler.request(OPERATOR, true).await.unwrap();
        runs += 1;
        let run = loop {
            let polls = if crashes < count { rng.random_range(1..MAX_POLLS) } else { u32::MAX };
            match crash_after(polls, reconciler.once(&stop)).await {
                Some(result) => drop(result.unwrap()),
                None => crashes += 1,
            }
            let run = bed.run(id).await;
            if run.finished_at.is_some() {
                break run;
            }
            resumed += i64::from(run.progress.buckets_done > 0);
            bed.arrive().await;
            // The leases of the crashed worker end.
            bed.clock.advance(Duration::from_mins(1));
        };
        assert_eq!((run.state, run.progress.buckets_done), (State::Finished, 1024), "{run:?}");
        let compared = i64::try_from(ids.len()).unwrap();
        assert_eq!(run.findings.compared, compared, "seed {seed}: each product once: {run:?}");
        let found = [run.findings.missing, run.findings.altered, run.findings.stock];
        assert_eq!(found, planted, "seed {seed}: {run:?}");
        let drifted = i64::try_from(DRIFTED).unwrap();
        assert_eq!(
            (run.findings.differences(), run.findings.repaired),
            (drifted, drifted),
            "seed {seed}: {run:?}"
        );
        bed.arrive().await;
    }
    for id in &ids {
        bed.check_listing(*id).await;
    }
    assert!(resumed > 0, "no run was resumed halfway, so the test shows nothing");
    eprintln!(
        "seed {seed}: {crashes} crashes in {runs} runs, {resumed} of them halfway through the \
         buckets; each run compared every product once and found all drift"
    );
}
