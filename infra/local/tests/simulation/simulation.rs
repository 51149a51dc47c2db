//! Two processes over real stores, and the scheduler that decides which operation moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;
use chrono::DateTime;
use serde_json::{Value, json};
use shared::bus;
use shared::bus::postgres::PgBus;
use shared::clock::Clock;
use shared::contract::routes::ROUTES;
use shared::http::auth::Role;
use shared::id::{Ids, UserId};
use testkit::{Faults, TestDatabase, TestDynamo, Tokens, database, dynamodb, faulty_dynamodb};
use testkit::{FaultyBus, MAX_WAIT, Rates, within};
use tokio::task::JoinHandle;

use crate::model::Model;
use crate::operation::{Done, Operation, Request};
use crate::points::{Plan, Stop};
use crate::process::{Environment, Process, TABLE};

const SELLER: UserId = UserId::from_u128(0x005e_11e5);

/// How often to check whether an operation waits for another one.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// While another operation is held, an operation counts as waiting for it after so many checks without a
/// call to a store. A busy machine delays the checks, which call a store too, like the operation.
const MAX_IDLE_CHECKS: u32 = 50;

/// What happened, printed when a run fails.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

pub(crate) struct Simulation {
    pub(crate) env: Environment,
    pub(crate) processes: Vec<Process>,
    pub(crate) running: BTreeMap<u64, Running>,
    pub(crate) model: Model,
    pub(crate) database: TestDatabase,
    token: String,
    /// Crashes, holds and failed store calls so far, without the faults of the bus.
    pub(crate) faults: u64,
    log: Log,
    next: u64,
    serial: i64,
    _dynamo: TestDynamo,
}

/// An operation in flight.
pub(crate) struct Running {
    pub(crate) process: usize,
    pub(crate) is_held: bool,
    operation: Operation,
    /// The version of the product it reads that buyers had seen when it began.
    floor: i64,
    join: JoinHandle<Done>,
}

/// The progress of an operation.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ended(Done),
    /// It is held at this point.
    Held {
        point: &'static str,
    },
    /// It waits for a lock that a held operation has.
    Waits,
    /// Its process was killed at this point.
    Crashed {
        point: &'static str,
    },
}

impl Outcome {
    pub(crate) fn is_crash_at(&self, name: &str) -> bool {
        matches!(self, Self::Crashed { point } if *point == name)
    }

    pub(crate) fn is_held_at(&self, name: &str) -> bool {
        matches!(self, Self::Held { point } if *point == name)
    }
}

impl Simulation {
    pub(crate) async fn new(seed: u64, rates: Rates, log: Log) -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR, &sync::MIGRATOR]).await;
        // Empty buckets come last in the background pass.
        sqlx::query("update sync.buckets set checked_at = to_timestamp(0)")
            .execute(&database.pool)
            .await
            .unwrap();
        let dynamo = dynamodb().await;
        let client = faulty_dynamodb(&dynamo.client, &Faults::default());
        catalog::table::ensure(&client, TABLE).await.unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let tokens = Tokens::new(clock.clone());
        let inner = PgBus::new(database.pool.clone(), clock.clone(), ROUTES);
        let token = tokens.with_claims(json!({
            "sub": SELLER, "roles": [Role::Seller.as_str()], "exp": 4_000_000_000_i64
        }));
        let env = Environment {
            database: database.url.clone(),
            dynamodb: dynamo.client.clone(),
            clock,
            ids: Ids::seeded(seed),
            tokens,
            bus: FaultyBus::new(inner, seed, rates),
        };
        let processes = vec![Process::start(&env).await, Process::start(&env).await];
        Self {
            env,
            processes,
            running: BTreeMap::new(),
            model: Model::default(),
            database,
            token,
            faults: 0,
            log,
            next: 0,
            serial: 0,
            _dynamo: dynamo,
        }
    }

    /// A number that was not returned before.
    pub(crate) fn serial(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn log(&self, line: String) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Begins an operation and runs it until it ends, is stopped, or waits.
    pub(crate) async fn begin(
        &mut self,
        process: usize,
        operation: Operation,
        plan: Option<Plan>,
    ) -> Outcome {
        let id = self.next;
        self.next += 1;
        self.log(format!("{id} begins in process {process}: {operation:?}, {plan:?}"));
        let host = &self.processes[process];
        host.points.activate(id, plan);
        let join = host.begin(id, operation.clone());
        let floor = self.floor(&operation);
        self.running.insert(id, Running { process, is_held: false, operation, floor, join });
        let outcome = self.watch(id).await;
        self.log(format!("{id}: {outcome:?}"));
        outcome
    }

    /// Resumes a held operation, and then those that waited for it.
    pub(crate) async fn resume(&mut self, id: u64, plan: Option<Plan>) -> Outcome {
        let running = self.running.get_mut(&id).unwrap();
        running.is_held = false;
        self.processes[running.process].points.release(id, plan);
        let outcome = self.watch(id).await;
        self.log(format!("{id} resumes: {outcome:?}"));
        let waiting = |(id, running): (&u64, &Running)| (!running.is_held).then_some(*id);
        for id in self.running.iter().filter_map(waiting).collect::<Vec<_>>() {
            // A crash may have ended them together.
            if self.running.contains_key(&id) {
                let outcome = self.watch(id).await;
                self.log(format!("{id} waited: {outcome:?}"));
            }
        }
        outcome
    }

    /// The version that buyers have seen of the product that an operation reads from the catalogue.
    fn floor(&self, operation: &Operation) -> i64 {
        let id = operation.reads();
        id.and_then(|id| self.model.seen.get(&id).copied()).unwrap_or_default()
    }

    /// Records the end of an operation in the model.
    async fn record_end(&mut self, operation: Operation, done: &Done, floor: i64) {
        let reads = operation.reads();
        let (Operation::Request(request), Done::Response(response)) = (operation, done) else {
            return;
        };
        self.model.record_response(request, response, floor);
        // After a buyer has seen a deletion, no buyer may see an older version.
        if let (Some(id), 404) = (reads, response.status.as_u16()) {
            let client = self.env.dynamodb.clone();
            let app = catalog::App::new(client, TABLE, "BRL".parse().unwrap());
            if let Some(listing) = app.find_listing(id).await.unwrap() {
                self.model.record_seen(id, listing.product_version, floor);
            }
        }
    }

    /// Waits until an operation ends, is stopped, or waits for another one.
    async fn watch(&mut self, id: u64) -> Outcome {
        // Real time: it only ends a hang.
        let begun = Instant::now();
        let (mut lock_waits, mut idle_checks, mut calls) = (0, 0, self.calls());
        loop {
            let running = self.running.get_mut(&id).unwrap();
            let process = running.process;
            let stopped = &mut self.processes[process].stopped;
            let stopped = tokio::select! {
                done = &mut running.join => {
                    let done = done.expect("an operation panicked");
                    let Running { operation, floor, .. } = self.running.remove(&id).unwrap();
                    self.record_end(operation, &done, floor).await;
                    return Outcome::Ended(done);
                }
                stopped = stopped.recv() => stopped.unwrap(),
                // Real time: no more than a pause between checks.
                () = tokio::time::sleep(POLL_INTERVAL) => {
                    if self.running.values().any(|running| running.is_held) {
                        // A single lock wait may be for a killed process, until PostgreSQL has closed
                        // its connections.
                        lock_waits += u32::from(self.has_lock_waiter().await);
                        let before = std::mem::replace(&mut calls, self.calls());
                        idle_checks = if calls == before { idle_checks + 1 } else { 0 };
                        if idle_checks > MAX_IDLE_CHECKS || lock_waits > 3 {
                            return Outcome::Waits;
                        }
                    } else {
                        assert!(begun.elapsed() < MAX_WAIT, "{id} hangs");
                    }
                    continue;
                }
            };
            self.faults += 1;
            if stopped.stop == Stop::Crash {
                self.crash(process).await;
                return Outcome::Crashed { point: stopped.point };
            }
            if let Some(held) = self.running.get_mut(&stopped.operation) {
                held.is_held = true;
            }
            if stopped.operation == id {
                return Outcome::Held { point: stopped.point };
            }
        }
    }

    /// Number of calls of all processes to the stores.
    fn calls(&self) -> u64 {
        let of = |process: &Process| process.postgres.faults.calls() + process.dynamodb.calls();
        self.processes.iter().map(of).sum()
    }

    /// Whether a session waits for a lock in PostgreSQL.
    async fn has_lock_waiter(&self) -> bool {
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(&self.database.pool)
        .await
        .unwrap()
    }

    /// Kills a process with all its operations, and starts a new one.
    pub(crate) async fn crash(&mut self, process: usize) {
        let fresh = Process::start(&self.env).await;
        std::mem::replace(&mut self.processes[process], fresh).kill();
        let all = std::mem::take(&mut self.running).into_iter();
        let (killed, remaining): (BTreeMap<_, _>, _) =
            all.partition(|(_, running)| running.process == process);
        self.running = remaining;
        for Running { operation, .. } in killed.into_values() {
            if let Operation::Request(request) = operation {
                self.model.lost(request);
            }
        }
    }

    /// Stops all faults. Resumes held operations, retries requests without a response until they get one, and
    /// waits until everything that was committed is projected.
    pub(crate) async fn settle_without_faults(&mut self) {
        self.log("no more faults".to_owned());
        for process in &self.processes {
            process.postgres.faults.clear();
            process.dynamodb.clear();
        }
        while let Some(id) = self.running.keys().next().copied() {
            self.resume(id, None).await;
            // An operation that waited for it may have ended with it.
            if let Some(Running { operation, floor, join, .. }) = self.running.remove(&id) {
                let done = within("the end of an operation", join).await;
                let done = done.expect("an operation panicked");
                self.record_end(operation, &done, floor).await;
            }
        }
        while let Some(request) = self.model.without_response.pop() {
            self.finish(Operation::Request(request)).await;
        }
        self.env.bus.stop_faults().await.unwrap();
        self.settle().await;
    }

    /// Processes pending work until nothing is pending.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..100 {
            if self.pending().await == 0 {
                return;
            }
            self.env.clock.advance(Duration::from_mins(1));
            for operation in
                [Operation::Repair, Operation::Relay, Operation::Intake, Operation::Redrive]
            {
                self.finish(operation).await;
            }
        }
        panic!("{} items stay pending", self.pending().await);
    }

    /// Runs an operation to its end.
    pub(crate) async fn finish(&mut self, operation: Operation) -> Done {
        let id = self.next;
        self.next += 1;
        self.processes[1].points.activate(id, None);
        let join = self.processes[1].begin(id, operation.clone());
        let done = within("the end of an operation", join).await.unwrap();
        if let Done::Failed(error) = &done {
            panic!("{operation:?} failed: {error}");
        }
        let floor = self.floor(&operation);
        self.record_end(operation, &done, floor).await;
        done
    }

    /// Number of events, repairs and dead letters between the two stores.
    async fn pending(&self) -> i64 {
        sqlx::query_scalar(
            "select (select count(*) from inventory.outbox)
                  + (select count(*) from inventory.repair_requests)
                  + (select count(*) from bus.messages)
                  + (select count(*) from bus.dead_letters)",
        )
        .fetch_one(&self.database.pool)
        .await
        .unwrap()
    }

    /// A seller's request, with `If-Match: *` and a new idempotency key where the operation takes them.
    pub(crate) fn send(&mut self, method: Method, path: String, body: Option<Value>) -> Operation {
        let takes_tag = [Method::PATCH, Method::PUT, Method::DELETE].contains(&method);
        let takes_key = method == Method::POST && !path.ends_with("/restore");
        Operation::Request(Request {
            if_match: takes_tag.then(|| "*".to_owned()),
            key: takes_key.then(|| format!("key-{}", self.serial())),
            token: self.token.clone(),
            method,
            path,
            body,
        })
    }

    /// Number of faults of all kinds.
    pub(crate) fn all_faults(&self) -> u64 {
        self.faults + u64::from(self.env.bus.faults())
    }

    /// Kills all processes and removes the database.
    pub(crate) async fn end(self) {
        for process in self.processes {
            process.kill();
        }
        self.database.remove().await;
    }
}
