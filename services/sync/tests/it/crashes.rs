//! A worker that dies, wherever it is: what it had done is done, what it had not is done by the next
//! one, and nothing is done or counted twice.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use shared::testkit::Scale;
use sync::{Settings, State};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{OPERATOR, World, n, s, settings};

/// Unless more are asked for.
const CRASHES: u64 = 10;
const SEED: u64 = 29;

/// So many that buckets have several, each of them a page.
const PRODUCTS: usize = 200;

/// How many drift in a run.
const DRIFTED: usize = 15;

/// The most answers that a worker gets from its stores before it dies.
const LONGEST_LIFE: u32 = 500;

/// Lets `work` go on until something it waits for has come `answers` times, and then drops it where
/// it stands, as a crash does. Returns what it returned, if it came so far.
async fn cut_off<T>(work: impl Future<Output = T>, answers: u32) -> Option<T> {
    let mut work = Box::pin(work);
    let mut left = answers;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Makes listings differ that do not yet; in ways that leave their number as it is, and one by one.
async fn plant(world: &World, ids: &[Uuid], rng: &mut StdRng) -> [i64; 3] {
    let mut planted = [0; 3];
    for (nth, id) in ids.sample(rng, DRIFTED).enumerate() {
        match nth % 3 {
            0 => world.remove(*id).await,
            1 => world.tamper(*id, "name", s("Stolen shoe")).await,
            _ => world.tamper(*id, "on_hand", n(1_000)).await,
        }
        planted[nth % 3] += 1;
    }
    planted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_anywhere_is_resumed_and_no_page_is_lost_or_counted_twice() {
    let Scale { count, seed } = Scale::asked(CRASHES, SEED);
    eprintln!("{count} crashes from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (world, ids) = World::with_products(PRODUCTS).await;
    let reconciler =
        world.reconciler.clone().with_settings(Settings { page: 1, slice: 0, ..settings() });
    let stop = CancellationToken::new();
    let (mut crashes, mut runs, mut resumed) = (0, 0, 0);
    while crashes < count {
        let planted = plant(&world, &ids, &mut rng).await;
        let id = reconciler.request(OPERATOR, true).await.unwrap();
        runs += 1;
        let run = loop {
            let life = if crashes < count { rng.random_range(1..LONGEST_LIFE) } else { u32::MAX };
            match cut_off(reconciler.once(&stop), life).await {
                Some(result) => drop(result.unwrap()),
                None => crashes += 1,
            }
            let run = world.run(id).await;
            if run.finished_at.is_some() {
                break run;
            }
            resumed += i64::from(run.progress.buckets_done > 0);
            world.arrive().await;
            // What the dead had leased is free again.
            world.clock.advance(Duration::from_mins(1));
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
        world.arrive().await;
    }
    for id in &ids {
        world.check_listing(*id).await;
    }
    assert!(resumed > 0, "no run was resumed in its middle: what was tested?");
    eprintln!(
        "seed {seed}: {crashes} crashes in {runs} runs, {resumed} of them in the middle of the \
         buckets; every product was compared once in each run and all drift was found"
    );
}
