//! Drift of every kind, planted at random while sellers write without a pause: all of it is found
//! and repaired, and no newer state is overwritten.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use shared::id::ProductId;
use sync::Run;
use testkit::RandomRuns;

use crate::test_bed::{Item, TestBed, n, s};

/// The default number of products.
const PRODUCTS: u64 = 300;
const SEED: u64 = 23;

/// How often drift is planted and reconciled.
const ROUNDS: usize = 2;

/// The least number of concurrent writes, and of reads.
const ENOUGH: u32 = 50;

/// How many of a thousand products drift in a round.
const DRIFT: std::ops::RangeInclusive<usize> = 1..=50;

/// How a listing is made to differ from its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drift {
    /// The listing is removed.
    Missing,
    /// The listing is set back to the state before the last change.
    Stale,
    /// The listing of a deleted product is set back to its state before the deletion.
    Undeleted,
    /// The listing has a version that its product has not reached.
    Ahead,
    /// The listing has a stock version that the stock has not reached.
    StockAhead,
    /// A listing is added for a product that never existed.
    Extra,
    /// A field of the listing has another value.
    Altered,
    /// The hash of the listing has another value.
    Rehashed,
    /// The listing has other stock.
    Stock,
}

impl Drift {
    const ALL: [Self; 9] = [
        Self::Missing,
        Self::Stale,
        Self::Undeleted,
        Self::Ahead,
        Self::StockAhead,
        Self::Extra,
        Self::Altered,
        Self::Rehashed,
        Self::Stock,
    ];

    /// Its index in [`counts`].
    fn index(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Stale | Self::Undeleted => 1,
            Self::Ahead | Self::StockAhead => 2,
            Self::Extra => 3,
            Self::Altered | Self::Rehashed => 4,
            Self::Stock => 5,
        }
    }
}

fn counts(run: &Run) -> [i64; 6] {
    [
        run.findings.missing,
        run.findings.stale,
        run.findings.ahead,
        run.findings.extra,
        run.findings.altered,
        run.findings.stock,
    ]
}

/// A product without concurrent writes, with its listing as it was before the last change.
struct DriftTarget {
    id: ProductId,
    drift: Drift,
    before: Item,
}

impl DriftTarget {
    /// Changes the product, so that its listing can be set back to an older state.
    async fn prepare(bed: &TestBed, id: ProductId, drift: Drift) -> Self {
        let before = bed.listing(id).await.unwrap();
        bed.change(id, json!({"name": "Other shoe"})).await;
        bed.set_stock(id, 7).await;
        if drift == Drift::Undeleted {
            bed.delete(id).await;
        }
        Self { id, drift, before }
    }
}

/// The products that sellers write to, and the versions that readers have seen.
struct LiveRun<'a> {
    bed: &'a TestBed,
    written: Vec<ProductId>,
    done: AtomicBool,
    writes: Cell<u32>,
    reads: Cell<u32>,
    /// The highest versions of product and stock that each listing has shown.
    seen: RefCell<HashMap<ProductId, [i64; 2]>>,
}

impl LiveRun<'_> {
    fn is_open(&self) -> bool {
        !self.done.load(Ordering::SeqCst)
    }

    /// Whether too little was written or read during the runs.
    fn is_short(&self) -> bool {
        self.writes.get() <= ENOUGH || self.reads.get() <= ENOUGH
    }

    /// Creates, changes, counts, deletes and restores products.
    async fn write(&self, mut rng: StdRng) {
        while self.is_open() {
            let writes = self.writes.get();
            let id = *self.written.choose(&mut rng).unwrap();
            match rng.random_range(0..10) {
                0..5 => {
                    let name = format!("Shoe {writes}");
                    self.bed.change(id, json!({"name": name})).await;
                }
                5..8 => self.bed.set_stock(id, 100 + i64::from(writes)).await,
                8 => {
                    self.bed.delete(id).await;
                    self.bed.restore(id).await;
                }
                _ => drop(self.bed.create(&format!("NEW-{writes}"), "hats").await),
            }
            self.writes.set(writes + 1);
        }
    }

    async fn deliver(&self) {
        while self.is_open() {
            self.bed.publish().await;
            self.bed.project().await;
            tokio::task::yield_now().await;
        }
    }

    /// Checks that no listing without planted drift goes back to an older version.
    async fn read(&self, mut rng: StdRng) {
        while self.is_open() {
            let id = *self.written.choose(&mut rng).unwrap();
            let before = self.seen.borrow().get(&id).copied();
            let now = self.bed.versions(id).await;
            // Drift planted in between has removed the entry.
            let mut seen = self.seen.borrow_mut();
            if let (Some(before), Some(known)) = (before, seen.get_mut(&id)) {
                let back = before.iter().zip(now).any(|(before, now)| now < *before);
                assert!(!back, "{id} went back from {before:?} to {now:?}");
                *known = now;
                self.reads.set(self.reads.get() + 1);
            }
        }
    }

    /// Makes a listing differ from its product.
    async fn plant(&self, DriftTarget { id, drift, before }: &DriftTarget) {
        let bed = self.bed;
        let now = bed.versions(*id).await;
        match drift {
            Drift::Missing => bed.remove(*id).await,
            Drift::Stale | Drift::Undeleted => bed.put(before.clone()).await,
            Drift::Ahead => bed.overwrite_attribute(*id, "product_version", n(now[0] + 7)).await,
            Drift::StockAhead => bed.overwrite_attribute(*id, "stock_version", n(now[1] + 7)).await,
            Drift::Altered => bed.overwrite_attribute(*id, "name", s("Stolen shoe")).await,
            Drift::Rehashed => {
                let other = "0123456789abcdef0123456789abcdef";
                bed.overwrite_attribute(*id, "content_hash", s(other)).await;
            }
            Drift::Stock => bed.overwrite_attribute(*id, "on_hand", n(1_000)).await,
            Drift::Extra => {
                let mut copy = before.clone();
                // In the same bucket.
                copy.extend(TestBed::key(ProductId::from_u128(id.uuid().as_u128() ^ (1 << 40))));
                bed.put(copy).await;
            }
        }
    }

    /// Does the same to a product with concurrent writes, which may overwrite the drift at once.
    async fn plant_among_writes(&self, id: ProductId, drift: Drift) {
        // Readers may see any version of it from now on.
        self.seen.borrow_mut().remove(&id);
        if let Some(before) = self.bed.listing(id).await {
            self.plant(&DriftTarget { id, drift, before }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_repaired_while_sellers_write_without_losing_updates() {
    let RandomRuns { count, seed } = RandomRuns::from_env(PRODUCTS, SEED);
    eprintln!("{count} products, drift from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (bed, mut ids) = TestBed::with_products(usize::try_from(count).unwrap()).await;
    ids.shuffle(&mut rng);
    let rounds: Vec<usize> =
        (0..ROUNDS).map(|_| (ids.len() * rng.random_range(DRIFT) / 1_000).max(5)).collect();
    let written = ids.split_off(ids.len() / 2);
    let mut targets = Vec::new();
    for (id, drift) in ids.iter().zip(Drift::ALL.into_iter().cycle()).take(rounds.iter().sum()) {
        targets.push(DriftTarget::prepare(&bed, *id, drift).await);
    }
    bed.arrive().await;
    let mut right = HashMap::new();
    for id in &ids {
        right.insert(*id, bed.content(*id).await);
    }
    let seen = written.iter().map(|id| (*id, [0, 0])).collect();
    let live_run = LiveRun {
        bed: &bed,
        written,
        done: AtomicBool::new(false),
        writes: Cell::default(),
        reads: Cell::default(),
        seen: RefCell::new(seen),
    };

    let reconcile = async {
        let mut rng = StdRng::seed_from_u64(seed + 1);
        let (mut targets, mut found) = (targets.iter(), [0; 6]);
        // On a slow machine, further rounds without new drift.
        let further = std::iter::repeat(&0).take_while(|_| live_run.is_short());
        for (nth, drifted) in rounds.iter().chain(further).enumerate() {
            let mut planted = [0; 6];
            for target in targets.by_ref().take(*drifted) {
                live_run.plant(target).await;
                planted[target.drift.index()] += 1;
            }
            // In every other round, products with concurrent writes drift, too.
            let among_writes = if nth % 2 == 1 { *drifted } else { 0 };
            for drift in Drift::ALL.into_iter().cycle().take(among_writes) {
                let id = *live_run.written.choose(&mut rng).unwrap();
                live_run.plant_among_writes(id, drift).await;
            }
            let run = bed.reconcile_during_writes(true).await;
            let counted = counts(&run);
            assert_eq!(run.findings.repaired, run.findings.differences(), "seed {seed}: {run:?}");
            if nth == 0 {
                assert_eq!(counted, planted, "seed {seed}: found other drift than was planted");
            }
            let all = planted.iter().zip(counted).all(|(planted, counted)| counted >= *planted);
            assert!(all, "seed {seed}: planted {planted:?}, found {run:?}");
            for (sum, count) in found.iter_mut().zip(counted) {
                *sum += count;
            }
        }
        live_run.done.store(true, Ordering::SeqCst);
        found
    };
    let (found, (), (), ()) = tokio::join!(
        reconcile,
        live_run.write(StdRng::seed_from_u64(seed + 2)),
        live_run.deliver(),
        live_run.read(StdRng::seed_from_u64(seed + 3)),
    );

    bed.arrive().await;
    let late = bed.reconcile(true).await;
    bed.arrive().await;
    let last = bed.reconcile(true).await;
    assert_eq!(
        (last.findings.differences(), last.findings.moving),
        (0, 0),
        "seed {seed}: {last:?}"
    );
    for id in ids.iter().chain(&live_run.written) {
        bed.check_listing(*id).await;
    }
    let raised = [Drift::Ahead, Drift::StockAhead, Drift::Undeleted];
    let kept: Vec<&ProductId> = ids
        .iter()
        .filter(|id| !targets.iter().any(|it| it.id == **id && raised.contains(&it.drift)))
        .collect();
    for id in &kept {
        assert_eq!(bed.content(**id).await, right[*id], "seed {seed}: {id} must be unchanged");
    }
    eprintln!(
        "seed {seed}: {count} products, {rounds:?} drifted in {ROUNDS} rounds during {} writes \
         and {} reads; found {found:?} and {} after the last event, then 0",
        live_run.writes.get(),
        live_run.reads.get(),
        late.findings.differences()
    );
}
