//! An edition that is restarted as a service manager would restart it, and the kills that it must
//! recover from.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use testkit::eventually;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::process::{Process, postmaster};

/// The clients write as fast as they can, and the rate limit is not under test.
const SETTINGS: [(&str, &str); 1] = [("VITRINA_RATE_LIMIT", "0")];

/// Which process gets SIGKILL, and when.
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
    /// PostgreSQL under load, and then the process while it restarts PostgreSQL.
    RecoveringProcess,
    /// PostgreSQL under load, and its successor as soon as it runs.
    RecoveringPostgres,
    /// The process under load, and PostgreSQL while the next process adopts it.
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

    /// Takes the next kind from `remaining`. Each kind comes once in seven, in random order.
    pub(crate) fn choose(remaining: &mut Vec<Self>, rng: &mut StdRng) -> Self {
        if remaining.is_empty() {
            remaining.extend(Self::ALL);
            remaining.shuffle(rng);
        }
        remaining.pop().unwrap()
    }
}

/// Address of the running edition, and a token for it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) url: String,
    /// A seller's token.
    pub(crate) token: String,
}

/// Follows the edition's address across restarts, and tells clients when to stop.
#[derive(Clone, Debug)]
pub(crate) struct AddressWatch {
    address: watch::Receiver<Option<Address>>,
    stop: CancellationToken,
}

impl AddressWatch {
    /// Watches an edition that keeps its address, until `stop`.
    pub(crate) fn fixed(address: Address, stop: CancellationToken) -> Self {
        Self { address: watch::Sender::new(Some(address)).subscribe(), stop }
    }

    /// Waits until the edition is up and returns its address. `None` once clients must stop.
    pub(crate) async fn wait(&mut self) -> Option<Address> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            found = self.address.wait_for(Option::is_some) => found.ok()?.clone(),
        }
    }
}

/// An edition that is restarted after each kill.
pub(crate) struct Supervised<'a> {
    data: &'a Path,
    process: Option<Process>,
    address: watch::Sender<Option<Address>>,
    http: reqwest::Client,
    stop: CancellationToken,
    /// Number of kills of each kind.
    pub(crate) kills: BTreeMap<Kill, u32>,
    /// Number of processes that got the signal.
    pub(crate) signals: u32,
    /// Starts that failed because PostgreSQL was killed during the start.
    pub(crate) failed_starts: u32,
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
            failed_starts: 0,
        };
        supervised.recover().await;
        supervised
    }

    pub(crate) fn watch_address(&self) -> AddressWatch {
        AddressWatch { address: self.address.subscribe(), stop: self.stop.clone() }
    }

    /// The current address.
    pub(crate) fn address(&self) -> Address {
        self.address.borrow().clone().unwrap()
    }

    /// Stops every client that watches the address.
    pub(crate) fn stop_clients(&self) {
        self.stop.cancel();
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub(crate) async fn terminate(self) {
        self.process.unwrap().terminate().await;
    }

    /// Sends the signals, and brings everything up again.
    pub(crate) async fn kill_and_recover(&mut self, kill: Kill, rng: &mut StdRng) {
        let before = postmaster(self.data);
        let process_first = rng.random_bool(0.5);
        // Real time: the test is about when a kill hits, so it waits for a random time.
        let mut random_pause = async |longest| {
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
                random_pause(1_000).await;
                starting.kill().await;
                self.signals += 1;
            }
            Kill::RecoveringProcess => {
                self.kill_postgres().await;
                random_pause(600).await;
                self.kill_process().await;
            }
            Kill::RecoveringPostgres => {
                self.kill_postgres().await;
                self.wait_for_new_postmaster(before).await;
                random_pause(100).await;
                self.kill_postgres().await;
            }
            Kill::AdoptedPostgres => {
                self.kill_process().await;
                let starting = self.begin();
                random_pause(1_000).await;
                self.kill_postgres().await;
                match starting.ready().await {
                    Ok(process) => self.process = Some(process),
                    Err(_) => self.failed_starts += 1,
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

    /// Child processes of the server live on for a moment, and may still respond.
    async fn kill_postgres(&mut self) {
        let Some(pid) = postmaster(self.data) else { return };
        let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).status().await.unwrap();
        self.signals += u32::from(sent.success());
        let ended = async || (postmaster(self.data) != Some(pid)).then_some(());
        eventually("the end of PostgreSQL", ended).await;
    }

    async fn wait_for_new_postmaster(&self, before: Option<u32>) {
        eventually("the next PostgreSQL", async || {
            postmaster(self.data).filter(|pid| Some(*pid) != before)
        })
        .await;
    }

    /// Starts the process if it does not run, and waits until log-ins work again.
    async fn recover(&mut self) {
        if self.process.is_none() {
            let ready = self.begin().ready().await;
            self.process = Some(ready.unwrap_or_else(|log| panic!("the start failed: {log}")));
        }
        let process = self.process.as_ref().unwrap();
        let address = eventually("log-ins to work again", async || {
            postmaster(self.data)?;
            let token = process.try_token(&self.http, "seller").await?;
            Some(Address { url: process.url.clone(), token })
        })
        .await;
        self.address.send_replace(Some(address));
    }
}
