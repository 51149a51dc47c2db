//! Random runs from one seed: writes, reads, the relay, the bus, the queue, the projector,
//! reconciliation, restarts and the clock.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;
use testkit::Rates;
use testkit::{DynamoFault, PostgresFault, RandomRuns};

use crate::operation::Operation;
use crate::points::{Plan, Stop};
use crate::simulation::{Log, Outcome, Simulation};

/// Least number of steps and of faults in a run.
const STEPS: usize = 70;
const FAULTS: u64 = 10;

/// Most operations that are held at the same time.
const HELD: usize = 4;

/// The run of one seed.
struct SeededRun {
    sim: Simulation,
    rng: StdRng,
    skus: u32,
    /// Number of events of each kind, for the summary.
    counts: BTreeMap<&'static str, u64>,
}

impl SeededRun {
    async fn run(seed: u64, log: Log) -> BTreeMap<&'static str, u64> {
        let sim = Simulation::new(seed, Rates::each(7), log).await;
        let rng = StdRng::seed_from_u64(seed);
        let mut this = Self { sim, rng, skus: 0, counts: BTreeMap::new() };
        let mut steps = 0;
        while steps < STEPS || this.sim.all_faults() < FAULTS {
            this.step().await;
            steps += 1;
        }
        this.sim.settle_without_faults().await;
        this.sim.check().await;
        this.count("steps", steps as u64);
        this.count("products", this.sim.model.products.len() as u64);
        this.count("acknowledged writes", this.sim.model.acknowledged.len() as u64);
        this.count("bus faults", u64::from(this.sim.env.bus.faults()));
        this.sim.end().await;
        this.counts
    }

    fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// One step: a new or resumed operation, a fault, a restart, or a jump of the clock.
    async fn step(&mut self) {
        self.sim.env.clock.advance(Duration::from_millis(self.rng.random_range(1..3_000)));
        let held: Vec<u64> =
            self.sim.running.iter().filter(|(_, r)| r.is_held).map(|(id, _)| *id).collect();
        if held.len() >= HELD || (!held.is_empty() && self.rng.random_bool(0.25)) {
            let id = *held.choose(&mut self.rng).unwrap();
            let plan = self.plan();
            let outcome = self.sim.resume(id, plan).await;
            self.tally(&outcome);
            return;
        }
        match self.rng.random_range(0..100) {
            0..4 => self.inject_store_fault(),
            // Longer than the visibility timeout, a lease, or the lifetime of an idempotency key.
            4..7 => {
                let jump = [40, 90, 90_000].choose(&mut self.rng).copied().unwrap();
                self.sim.env.clock.advance(Duration::from_secs(jump));
            }
            7..9 => {
                let process = self.rng.random_range(0..2);
                self.sim.log(format!("process {process} is killed"));
                self.sim.faults += 1;
                self.count("restarts", 1);
                self.sim.crash(process).await;
            }
            _ => {
                let operation = self.operation().await;
                let (process, plan) = (self.rng.random_range(0..2), self.plan());
                let outcome = self.sim.begin(process, operation, plan).await;
                self.tally(&outcome);
            }
        }
    }

    fn tally(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ended(_) => {}
            Outcome::Held { .. } => self.count("holds", 1),
            Outcome::Waits => self.count("waits", 1),
            Outcome::Crashed { .. } => self.count("crashes", 1),
        }
    }

    fn plan(&mut self) -> Option<Plan> {
        let after = self.rng.random_range(0..6);
        match self.rng.random_range(0..100) {
            0..55 => None,
            55..82 => Some(Plan::After(after, Stop::Hold)),
            _ => Some(Plan::After(after, Stop::Crash)),
        }
    }

    /// Makes one of the next calls of a process to a store fail.
    fn inject_store_fault(&mut self) {
        let process = self.rng.random_range(0..2);
        self.sim.faults += 1;
        if self.rng.random_bool(0.5) {
            let after = self.rng.random_range(0..6);
            let fault = *PostgresFault::ALL.choose(&mut self.rng).unwrap();
            self.sim.log(format!("PostgreSQL: {fault:?} after {after}"));
            self.sim.processes[process].postgres.faults.once_after(after, fault);
            self.count("PostgreSQL faults", 1);
        } else {
            let transient = [
                DynamoFault::RequestLost,
                DynamoFault::ResponseLost,
                DynamoFault::THROTTLED,
                DynamoFault::INTERNAL,
            ];
            let fault = *transient.choose(&mut self.rng).unwrap();
            // By product, since the calls of a batch have no fixed order. Some faults end before the
            // client's last retry, and some do not.
            let Some(id) = self.known().map(|id| id.to_string()) else { return };
            let mut left = self.rng.random_range(1..6);
            self.sim.log(format!("DynamoDB: {fault:?} for {id}, {left} times"));
            self.sim.processes[process].dynamodb.plan(move |call| {
                let hit = left > 0 && call.contains(&id);
                left -= i32::from(hit);
                hit.then_some(fault)
            });
            self.count("DynamoDB faults", 1);
        }
    }

    async fn operation(&mut self) -> Operation {
        let again = self.sim.model.without_response.len();
        match self.rng.random_range(0..100) {
            0..40 => self.write(),
            40..48 if again > 0 => {
                let nth = self.rng.random_range(0..again);
                // Sometimes the request is in flight twice.
                if self.rng.random_bool(0.3) {
                    Operation::Request(self.sim.model.without_response[nth].clone())
                } else {
                    Operation::Request(self.sim.model.without_response.swap_remove(nth))
                }
            }
            40..56 => self.read(),
            56..70 => Operation::Relay,
            70..86 => Operation::Intake,
            86..88 => Operation::Receive,
            88..91 => Operation::Repair,
            91..97 => {
                self.put_buckets_first().await;
                Operation::Reconcile
            }
            97..98 => Operation::Expire,
            _ => Operation::Redrive,
        }
    }

    /// Makes the background pass begin with the buckets that have products.
    async fn put_buckets_first(&self) {
        let ids = &self.sim.model.products;
        let buckets: Vec<i32> = ids.iter().map(|id| i32::from(bucket_of(*id))).collect();
        sqlx::query(
            "update sync.buckets set checked_at = null
             where bucket in (
                 select bucket from sync.buckets where bucket = any($1) for update skip locked)",
        )
        .bind(buckets)
        .execute(&self.sim.database.pool)
        .await
        .unwrap();
    }

    fn known(&mut self) -> Option<ProductId> {
        self.sim.model.products.iter().copied().choose(&mut self.rng)
    }

    fn read(&mut self) -> Operation {
        let Some(id) = self.known() else { return self.create() };
        let path = match self.rng.random_range(0..4) {
            0 => format!("/v1/products/{id}"),
            1 => format!("/v1/products/{id}/stock"),
            _ => format!("/v1/catalog/products/{id}"),
        };
        self.send(Method::GET, path, None)
    }

    fn write(&mut self) -> Operation {
        let Some(id) = self.known() else { return self.create() };
        let path = format!("/v1/products/{id}");
        match self.rng.random_range(0..100) {
            0..25 => self.create(),
            25..32 => {
                let items: Vec<Value> =
                    (0..self.rng.random_range(1..5)).map(|_| self.product()).collect();
                let body = json!({"items": items});
                self.send(Method::POST, "/v1/products/batch".to_owned(), Some(body))
            }
            32..62 => {
                let patch = self.patch();
                self.send(Method::PATCH, path, Some(patch))
            }
            62..72 => self.send(Method::DELETE, path, None),
            72..80 => self.send(Method::POST, format!("{path}/restore"), None),
            80..90 => {
                let body = json!({"on_hand": self.rng.random_range(0..3)});
                self.send(Method::PUT, format!("{path}/stock"), Some(body))
            }
            _ => {
                let delta = [-1, 1, 2].choose(&mut self.rng).copied().unwrap();
                let body = json!({"delta": delta, "reason": "counted"});
                self.send(Method::POST, format!("{path}/stock/adjustments"), Some(body))
            }
        }
    }

    fn create(&mut self) -> Operation {
        let body = self.product();
        self.send(Method::POST, "/v1/products".to_owned(), Some(body))
    }

    fn send(&mut self, method: Method, path: String, body: Option<Value>) -> Operation {
        let Operation::Request(mut request) = self.sim.send(method, path, body) else {
            unreachable!()
        };
        if request.if_match.is_some() && self.rng.random_bool(0.4) {
            let id = request.path.split('/').nth(3).unwrap().parse::<ProductId>().unwrap();
            let version = self.sim.model.versions.get(&id).copied().unwrap_or(1);
            request.if_match = Some(format!("\"v{version}\""));
        }
        if self.rng.random_bool(0.2) {
            request.key = None;
        }
        Operation::Request(request)
    }

    fn product(&mut self) -> Value {
        self.skus += 1;
        let status = if self.rng.random_bool(0.8) { "active" } else { "draft" };
        json!({
            "sku": format!("SKU-{}", self.skus), "name": format!("Product {}", self.skus),
            "category": (["shoes", "hats", "toys"].choose(&mut self.rng).unwrap()),
            "attributes": {"size": self.rng.random_range(30..50), "weight": 0.5, "new": true},
            "price": {"amount": self.rng.random_range(0..10_000), "currency": "BRL"},
            "stock": {"on_hand": self.rng.random_range(0..3)}, "status": status,
        })
    }

    fn patch(&mut self) -> Value {
        match self.rng.random_range(0..5) {
            0 => json!({"name": format!("Renamed {}", self.rng.random_range(0..1_000))}),
            1 => json!({"price": {"amount": self.rng.random_range(0..10_000)}}),
            2 => json!({"category": (["shoes", "hats", "bags"].choose(&mut self.rng).unwrap())}),
            3 => {
                json!({"status": (["draft", "active", "archived"].choose(&mut self.rng).unwrap())})
            }
            _ => json!({"attributes": {"size": null, "weight": 0.125}, "description": "New"}),
        }
    }
}

/// Runs one seed. A failure has the log of the run and the command that repeats it.
fn run(seed: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeded_run = AssertUnwindSafe(SeededRun::run(seed, Log::clone(&log))).catch_unwind();
    runtime.block_on(seeded_run).map_err(|_| {
        let log = log.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
        format!(
            "{log}\nseed {seed} failed; repeat it with: VITRINA_TEST_SEED={seed} VITRINA_TEST_COUNT=1 \
             cargo test -p vitrina --test simulation converge"
        )
    })
}

#[test]
fn listings_equal_their_products_once_faults_stop() {
    let runs = RandomRuns::from_env(1_000, 0);
    let next = AtomicU64::new(runs.seed);
    let (sums, failures) = (Mutex::new(BTreeMap::<&str, u64>::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !runs.seeds().contains(&seed) || !failures.lock().unwrap().is_empty() {
                        return;
                    }
                    match run(seed) {
                        Ok(counts) => {
                            let mut sums = sums.lock().unwrap();
                            for (what, count) in counts {
                                *sums.entry(what).or_default() += count;
                            }
                        }
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    println!("seeds {:?}: {:?}", runs.seeds(), sums.lock().unwrap());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
