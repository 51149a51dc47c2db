//! Drift of every kind, planted at random while sellers write without a pause: all of it is found
//! and mended, and nothing newer is overwritten.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use shared::testkit::Scale;
use sync::Run;
use uuid::Uuid;

use crate::world::{Item, World, n, s};

/// Unless more is asked for.
const PRODUCTS: u64 = 300;
const SEED: u64 = 23;

/// How often drift is planted and looked for.
const ROUNDS: usize = 2;

/// Of a thousand products, how many drift in a round.
const DRIFT: std::ops::RangeInclusive<usize> = 1..=50;

/// How a listing is made to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drift {
    /// It is gone.
    Missing,
    /// It is as it was before the last change.
    Stale,
    /// It is alive, though its product was deleted.
    Undeleted,
    /// It has a version that its product has not reached.
    Ahead,
    /// The same of its stock.
    StockAhead,
    /// It is of a product that never was.
    Extra,
    /// One of its fields is another.
    Altered,
    /// Its hash is another.
    Rehashed,
    /// It has other stock.
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

    /// Where it is counted among [`counts`].
    fn place(self) -> usize {
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

/// A product that nobody writes to, with what its listing was before the last change.
struct Victim {
    id: Uuid,
    drift: Drift,
    before: Item,
}

impl Victim {
    /// A product with a past, so that its listing can be taken back to it.
    async fn prepare(world: &World, id: Uuid, drift: Drift) -> Self {
        let before = world.listing(id).await.unwrap();
        world.change(id, json!({"name": "Other shoe"})).await;
        world.set_stock(id, 7).await;
        if drift == Drift::Undeleted {
            world.delete(id).await;
        }
        Self { id, drift, before }
    }
}

/// The products that sellers write to, and what readers know of all products.
struct Shop<'a> {
    world: &'a World,
    written: Vec<Uuid>,
    done: AtomicBool,
    /// The greatest versions of product and stock that a listing has shown.
    seen: RefCell<HashMap<Uuid, [i64; 2]>>,
}

impl Shop<'_> {
    fn is_open(&self) -> bool {
        !self.done.load(Ordering::SeqCst)
    }

    /// Sellers create, change, count, delete and restore. Returns how much they did.
    async fn write(&self, mut rng: StdRng) -> u32 {
        let mut writes = 0;
        while self.is_open() {
            let id = *self.written.choose(&mut rng).unwrap();
            match rng.random_range(0..10) {
                0..5 => {
                    let name = format!("Shoe {writes}");
                    self.world.change(id, json!({"name": name})).await;
                }
                5..8 => self.world.set_stock(id, 100 + i64::from(writes)).await,
                8 => {
                    self.world.delete(id).await;
                    self.world.restore(id).await;
                    writes += 1;
                }
                _ => drop(self.world.create(&format!("NEW-{writes}"), "hats").await),
            }
            writes += 1;
        }
        writes
    }

    async fn carry(&self) {
        while self.is_open() {
            self.world.publish().await;
            self.world.project().await;
            tokio::task::yield_now().await;
        }
    }

    /// Readers see no listing that nobody tampers with go back. Returns how often they looked.
    async fn read(&self, mut rng: StdRng) -> u32 {
        let mut looks = 0;
        while self.is_open() {
            let id = *self.written.choose(&mut rng).unwrap();
            let before = self.seen.borrow().get(&id).copied();
            let now = self.world.versions(id).await;
            // Whoever tampered with it in between has begun anew.
            let mut seen = self.seen.borrow_mut();
            if let (Some(before), Some(known)) = (before, seen.get_mut(&id)) {
                let back = before.iter().zip(now).any(|(before, now)| now < *before);
                assert!(!back, "{id} went back from {before:?} to {now:?}");
                *known = now;
                looks += 1;
            }
        }
        looks
    }

    /// Makes a listing differ from its product.
    async fn plant(&self, Victim { id, drift, before }: &Victim) {
        let world = self.world;
        let now = world.versions(*id).await;
        match drift {
            Drift::Missing => world.remove(*id).await,
            Drift::Stale | Drift::Undeleted => world.put(before.clone()).await,
            Drift::Ahead => world.tamper(*id, "product_version", n(now[0] + 7)).await,
            Drift::StockAhead => world.tamper(*id, "stock_version", n(now[1] + 7)).await,
            Drift::Altered => world.tamper(*id, "name", s("Stolen shoe")).await,
            Drift::Rehashed => {
                let other = "0123456789abcdef0123456789abcdef";
                world.tamper(*id, "content_hash", s(other)).await;
            }
            Drift::Stock => world.tamper(*id, "on_hand", n(1_000)).await,
            Drift::Extra => {
                let mut copy = before.clone();
                // In the same bucket.
                copy.extend(World::key(Uuid::from_u128(id.as_u128() ^ (1 << 40))));
                world.put(copy).await;
            }
        }
    }

    /// The same to a product that is being written to. What is planted may be gone at once.
    async fn plant_among_writes(&self, id: Uuid, drift: Drift) {
        // Nobody can tell what readers may see of it from now on.
        self.seen.borrow_mut().remove(&id);
        if let Some(before) = self.world.listing(id).await {
            self.plant(&Victim { id, drift, before }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_of_every_kind_is_mended_while_sellers_write_and_nothing_newer_is_overwritten() {
    let Scale { count, seed } = Scale::asked(PRODUCTS, SEED);
    eprintln!("{count} products, drift from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (world, mut ids) = World::with_products(usize::try_from(count).unwrap()).await;
    ids.shuffle(&mut rng);
    let rounds: Vec<usize> =
        (0..ROUNDS).map(|_| (ids.len() * rng.random_range(DRIFT) / 1_000).max(5)).collect();
    let written = ids.split_off(ids.len() / 2);
    let mut victims = Vec::new();
    for (id, drift) in ids.iter().zip(Drift::ALL.into_iter().cycle()).take(rounds.iter().sum()) {
        victims.push(Victim::prepare(&world, *id, drift).await);
    }
    world.arrive().await;
    let mut right = HashMap::new();
    for id in &ids {
        right.insert(*id, world.content(*id).await);
    }
    let seen = written.iter().map(|id| (*id, [0, 0])).collect();
    let shop =
        Shop { world: &world, written, done: AtomicBool::new(false), seen: RefCell::new(seen) };

    let reconcile = async {
        let mut rng = StdRng::seed_from_u64(seed + 1);
        let (mut victims, mut found) = (victims.iter(), [0; 6]);
        for (nth, drifted) in rounds.iter().enumerate() {
            let mut planted = [0; 6];
            for victim in victims.by_ref().take(*drifted) {
                shop.plant(victim).await;
                planted[victim.drift.place()] += 1;
            }
            // In every other round, products drift that are being written to, too.
            let among_writes = if nth % 2 == 1 { *drifted } else { 0 };
            for drift in Drift::ALL.into_iter().cycle().take(among_writes) {
                let id = *shop.written.choose(&mut rng).unwrap();
                shop.plant_among_writes(id, drift).await;
            }
            let run = world.reconcile(true).await;
            let counted = counts(&run);
            assert_eq!(run.findings.repaired, run.findings.differences(), "seed {seed}: {run:?}");
            if nth == 0 {
                assert_eq!(counted, planted, "seed {seed}: what was planted, and nothing else");
            }
            let all = planted.iter().zip(counted).all(|(planted, counted)| counted >= *planted);
            assert!(all, "seed {seed}: planted {planted:?}, found {run:?}");
            for (sum, count) in found.iter_mut().zip(counted) {
                *sum += count;
            }
        }
        shop.done.store(true, Ordering::SeqCst);
        found
    };
    let (found, writes, (), looks) = tokio::join!(
        reconcile,
        shop.write(StdRng::seed_from_u64(seed + 2)),
        shop.carry(),
        shop.read(StdRng::seed_from_u64(seed + 3)),
    );
    assert!(writes > 50 && looks > 50, "{writes} writes, {looks} looks: what was tested?");

    world.arrive().await;
    let late = world.reconcile(true).await;
    world.arrive().await;
    let last = world.reconcile(true).await;
    assert_eq!(
        (last.findings.differences(), last.findings.moving),
        (0, 0),
        "seed {seed}: {last:?}"
    );
    for id in ids.iter().chain(&shop.written) {
        world.check_listing(*id).await;
    }
    let raised = [Drift::Ahead, Drift::StockAhead, Drift::Undeleted];
    let kept: Vec<&Uuid> = ids
        .iter()
        .filter(|id| !victims.iter().any(|it| it.id == **id && raised.contains(&it.drift)))
        .collect();
    for id in &kept {
        assert_eq!(world.content(**id).await, right[*id], "seed {seed}: {id} is as it was");
    }
    eprintln!(
        "seed {seed}: {count} products, {rounds:?} drifted in {ROUNDS} rounds during {writes} writes \
         and {looks} reads; found {found:?} and {} when all was quiet, then none",
        late.findings.differences()
    );
}
