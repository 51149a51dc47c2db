//! What is killed, in which order, and what must happen afterwards: an edition that is supervised
//! as a service manager would do it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::process::{Process, postmaster};

/// How long it may take until everything works again.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(5);

/// Whoever writes as fast as he can is not what is tested here.
const SETTINGS: [(&str, &str); 1] = [("VITRINA_RATE_LIMIT", "0")];

/// What gets SIGKILL, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kill {
    /// The process under load.
    Process,
    /// PostgreSQL under load.
    Postgres,
    /// Both, one right after the other.
    Both,
    /// The process under load, and the next one while it starts.
    StartingProcess,
    /// PostgreSQL under load, and the process while that starts it again.
    RecoveringProcess,
    /// PostgreSQL under load, and the next one as soon as it is there.
    RecoveringPostgres,
    /// The process under load, and PostgreSQL while the next process takes it over.
    AdoptedPostgres,
}

impl Kill {
    const ALL: [Self; 7] = [
        Self::Process,
        Self::Postgres,
        Self::Both,
        Self::StartingProcess,
        Self::RecoveringProcess,
        Self::RecoveringPostgres,
        Self::AdoptedPostgres,
    ];

    /// Every sort once in each seven, in an order of chance.
    pub(crate) fn choose(left: &mut Vec<Self>, rng: &mut StdRng) -> Self {
        if left.is_empty() {
            left.extend(Self::ALL);
            left.shuffle(rng);
        }
        left.pop().unwrap()
    }
}

/// How the edition is reached at present.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) url: String,
    /// A seller's.
    pub(crate) token: String,
}

/// What clients know of the edition: where it is, if it is up, and whether they shall go on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    address: watch::Receiver<Option<Address>>,
    stop: CancellationToken,
}

impl Place {
    /// Of an edition that stays where it is, until `stop`.
    pub(crate) fn fixed(address: Address, stop: CancellationToken) -> Self {
        Self { address: watch::Sender::new(Some(address)).subscribe(), stop }
    }

    /// Where the edition is, as soon as it is up; `None` when it is time to stop.
    pub(crate) async fn find(&mut self) -> Option<Address> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            found = self.address.wait_for(Option::is_some) => found.ok()?.clone(),
        }
    }
}

/// An edition that is started again whenever it is down.
pub(crate) struct Supervised<'a> {
    data: &'a Path,
    process: Option<Process>,
    address: watch::Sender<Option<Address>>,
    http: reqwest::Client,
    stop: CancellationToken,
    /// Kills of each sort.
    pub(crate) kills: BTreeMap<Kill, u32>,
    /// How many processes got the signal.
    pub(crate) signals: u32,
    /// Starts that ended by themselves because PostgreSQL was killed under them.
    pub(crate) given_up: u32,
}

impl<'a> Supervised<'a> {
    pub(crate) async fn start(data: &'a Path) -> Self {
        let mut supervised = Self {
            data,
            process: None,
            address: watch::Sender::new(None),
            http: reqwest::Client::new(),
            stop: CancellationToken::new(),
            kills: BTreeMap::new(),
            signals: 0,
            given_up: 0,
        };
        supervised.recover().await;
        supervised
    }

    pub(crate) fn place(&self) -> Place {
        Place { address: self.address.subscribe(), stop: self.stop.clone() }
    }

    /// Where it is now.
    pub(crate) fn address(&self) -> Address {
        self.address.borrow().clone().unwrap()
    }

    /// Tells whoever has its place that it is time to stop.
    pub(crate) fn dismiss(&self) {
        self.stop.cancel();
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub(crate) async fn terminate(self) {
        self.process.unwrap().terminate().await;
    }

    /// Kills, and brings everything up again.
    pub(crate) async fn suffer(&mut self, kill: Kill, rng: &mut StdRng) {
        let before = postmaster(self.data);
        let process_first = rng.random_bool(0.5);
        // Moments are what is under test, so they are waited for.
        let mut moment = async |longest| {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..longest))).await;
        };
        match kill {
            Kill::Process => self.kill_process().await,
            Kill::Postgres => self.kill_postgres().await,
            Kill::Both if process_first => {
                self.kill_process().await;
                self.kill_postgres().await;
            }
            Kill::Both => {
                self.kill_postgres().await;
                self.kill_process().await;
            }
            Kill::StartingProcess => {
                self.kill_process().await;
                let starting = self.begin();
                moment(1_000).await;
                starting.kill().await;
                self.signals += 1;
            }
            Kill::RecoveringProcess => {
                self.kill_postgres().await;
                moment(600).await;
                self.kill_process().await;
            }
            Kill::RecoveringPostgres => {
                self.kill_postgres().await;
                self.another_postmaster(before).await;
                moment(100).await;
                self.kill_postgres().await;
            }
            Kill::AdoptedPostgres => {
                self.kill_process().await;
                let starting = self.begin();
                moment(1_000).await;
                self.kill_postgres().await;
                match starting.ready().await {
                    Ok(process) => self.process = Some(process),
                    Err(_) => self.given_up += 1,
                }
            }
        }
        *self.kills.entry(kill).or_default() += 1;
        self.recover().await;
    }

    fn begin(&self) -> crate::process::Starting {
        Process::begin(self.data, &SETTINGS)
    }

    async fn kill_process(&mut self) {
        self.address.send_replace(None);
        self.process.take().unwrap().kill().await;
        self.signals += 1;
    }

    /// What runs of it lives on for a moment, and may still answer.
    async fn kill_postgres(&mut self) {
        let Some(pid) = postmaster(self.data) else { return };
        let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).status().await.unwrap();
        self.signals += u32::from(sent.success());
        let begun = Instant::now();
        while postmaster(self.data) == Some(pid) {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL outlives SIGKILL");
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn another_postmaster(&self, before: Option<u32>) {
        let begun = Instant::now();
        while postmaster(self.data).is_none_or(|pid| Some(pid) == before) {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL is not started again");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Starts the process if it does not run, and waits until it can do everything again.
    async fn recover(&mut self) {
        let begun = Instant::now();
        let in_time = |doing: &str| assert!(begun.elapsed() < PATIENCE, "{doing}");
        if self.process.is_none() {
            let ready = self.begin().ready().await;
            self.process = Some(ready.unwrap_or_else(|log| panic!("it ended: {log}")));
        }
        let process = self.process.as_ref().unwrap();
        let address = loop {
            if postmaster(self.data).is_some()
                && let Some(token) = process.try_token(&self.http, "seller").await
            {
                break Address { url: process.url.clone(), token };
            }
            in_time("nobody can log in any more");
            tokio::time::sleep(GLANCE * 10).await;
        };
        self.address.send_replace(Some(address));
    }
}
