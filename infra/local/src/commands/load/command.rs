//! `vitrina load`: a load test in one command, against the running edition.
//!
//! Promise: a latency counts from the scheduled time of its request, however late the request could
//! be sent. Slow responses cannot hide it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use shared::clock::Clock;
use shared::id::{Ids, ProductId};
use shared::money::Currency;
use uuid::Uuid;

use super::connection::{get, post};
use super::generator::{Load, Seen, WriteRequest, open_loop};
use super::lag::LagPollers;
use super::number::{Latencies, rate};
use crate::client::demo_user::{self, DemoUser};
use crate::commands::seed::products;
use crate::console::exit::{FAILED, OK};
use crate::console::global::Global;
use crate::console::output::{Output, OutputArgs};
use crate::console::output::{print, say};
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::catalog::CATALOG;
use crate::edition::parts::catalog::PROJECTOR;
use crate::edition::parts::inventory::INVENTORY;
use crate::edition::parts::inventory::RELAY;

/// How many visible products the reads by id are spread over.
const MAX_READ: usize = 10_000;

#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Requests per second
    #[arg(long, value_name = "N", default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Duration in seconds
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Percentage of requests that create a product; the others read
    #[arg(long, value_name = "PERCENT", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=99))]
    creates: u32,
    /// Connections for creates, and as many for reads
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Seed of the random products
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(global: &Global, args: LoadArgs) -> anyhow::Result<u8> {
    let folder = DataFolder::at(&global.data)?;
    // Without a relay and a projector nothing becomes visible.
    for part in [INVENTORY, RELAY, PROJECTOR, CATALOG] {
        folder.find_running_with(part)?;
    }
    let running = folder.find_running()?;
    let api = running.url.strip_prefix("http://").and_then(|address| address.parse().ok());
    let api: SocketAddr = api.with_context(|| format!("{} is not an address", running.url))?;
    let seller = demo_user::sign_for(&folder, &running, DemoUser::Seller)?;
    // It is valid for a quarter of an hour, which is longer than any load.
    let token = seller.token().await?.context("no token was signed")?;
    let LoadArgs { rate, seconds, .. } = args;
    say(&format!("sending {rate} requests per second for {seconds} s"));

    let creates_rate = f64::from(rate) * f64::from(args.creates) / 100.0;
    let visible = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&visible);
    let (pollers, observe) = LagPollers::begin(api, creates_rate, move |id| remember(&found, id));
    let load = |status, request, observe| Load {
        address: api,
        connections: args.connections.into(),
        duration: Duration::from_secs(seconds),
        status,
        request,
        observe,
    };
    let creates = load(201, creates(token.expose(), args.seed, running.currency), Some(observe));
    let reads = load(200, reads(visible), None);
    let (created, read) = tokio::try_join!(
        open_loop(&creates, creates_rate),
        open_loop(&reads, f64::from(rate) - creates_rate),
    )?;
    drop(creates);
    let mut lags = Latencies::new();
    for (_, lag) in pollers.end().await? {
        lags.record(lag);
    }
    let report = Report {
        creates: ResponseStats::of(&created),
        reads: ResponseStats::of(&read),
        commit_to_visible: Lag {
            looked_for: lags.count(),
            p50_ms: lags.quantile(0.5),
            p99_ms: lags.quantile(0.99),
        },
    };
    let printed = match args.output.output {
        Output::Text => print(&report.text()),
        Output::Json => print(&serde_json::to_string_pretty(&report)?),
    };
    for ResponseStats { refused_with, .. } in [&report.creates, &report.reads] {
        match refused_with {
            Some(429) => {
                say(
                    "requests were rate limited: set VITRINA_RATE_LIMIT when you start the edition",
                );
            }
            Some(status) => {
                say(&format!("a request got the status {status}: see the log of the edition"));
            }
            None => {}
        }
    }
    printed?;
    Ok(if report.creates.refused + report.reads.refused == 0 { OK } else { FAILED })
}

fn remember(visible: &Mutex<Vec<ProductId>>, id: ProductId) {
    let mut visible = visible.lock().unwrap_or_else(PoisonError::into_inner);
    if visible.len() < MAX_READ {
        visible.push(id);
    }
}

/// Requests that create the products of `vitrina seed`, each with its own idempotency key.
fn creates(token: &str, seed: u64, currency: Currency) -> Arc<WriteRequest> {
    let id = Ids::System.next::<Uuid>(Clock::System.now()).simple().to_string();
    // The start of the id is the time, its end is random.
    let tag = id[id.len() - 8..].to_owned();
    let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    Arc::new(move |number, buffer| {
        let product = products::product(seed, number, currency, &tag);
        // Serialising to memory cannot fail: all keys are strings.
        let body = serde_json::to_string(&product).unwrap_or_default();
        let headers = format!("{headers}idempotency-key: load-{id}-{number}\r\n");
        post("/v1/products", &headers, &body, buffer);
    })
}

/// Requests that read, in turn, a visible product and the first page of a category.
fn reads(visible: Arc<Mutex<Vec<ProductId>>>) -> Arc<WriteRequest> {
    Arc::new(move |number, buffer| {
        let nth = usize::try_from(number / 2).unwrap_or_default();
        let one = {
            let visible = visible.lock().unwrap_or_else(PoisonError::into_inner);
            nth.checked_rem(visible.len()).map(|nth| visible[nth])
        };
        match one {
            Some(id) if number.is_multiple_of(2) => {
                get(&format!("/v1/catalog/products/{id}"), buffer);
            }
            _ => {
                let category = products::category(nth);
                get(&format!("/v1/catalog/products?category={category}&in_stock=true"), buffer);
            }
        }
    })
}

/// The results.
#[derive(Debug, Serialize)]
struct Report {
    creates: ResponseStats,
    reads: ResponseStats,
    commit_to_visible: Lag,
}

#[derive(Debug, Serialize)]
struct ResponseStats {
    #[serde(rename = "answered")]
    responses: u64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    refused: u64,
    /// The status of one of the refused requests.
    refused_with: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Lag {
    looked_for: u64,
    p50_ms: f64,
    p99_ms: f64,
}

impl ResponseStats {
    fn of(seen: &Seen) -> Self {
        Self {
            responses: seen.responses,
            per_second: rate(seen.responses, seen.took),
            p50_ms: seen.latencies.quantile(0.5),
            p99_ms: seen.latencies.quantile(0.99),
            refused: seen.refused,
            refused_with: seen.refusal,
        }
    }

    fn row(&self, name: &str) -> [String; 6] {
        let Self { responses, per_second, p50_ms, p99_ms, refused, .. } = self;
        [
            name.to_owned(),
            responses.to_string(),
            format!("{per_second:.1}"),
            format!("{p50_ms:.1}"),
            format!("{p99_ms:.1}"),
            refused.to_string(),
        ]
    }
}

impl Report {
    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "responses", "per second", "p50 ms", "p99 ms", "refused"]);
        table.add_row(self.creates.row("creates"));
        table.add_row(self.reads.row("reads"));
        let Lag { looked_for, p50_ms, p99_ms } = &self.commit_to_visible;
        let (p50, p99) = (format!("{p50_ms:.1}"), format!("{p99_ms:.1}"));
        table.add_row(["commit to visible", &looked_for.to_string(), "", &p50, &p99, ""]);
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::console::output::rows;

    use super::*;

    fn written(request: &WriteRequest, number: u64) -> String {
        let mut buffer = Vec::new();
        request(number, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    fn seen(responses: u64, seconds: u64, refused: u64, milliseconds: u64) -> Seen {
        let mut latencies = Latencies::new();
        for nth in 1..=100 {
            // The last two of a hundred are ten times as long.
            let times = if nth > 98 { 10 } else { 1 };
            latencies.record(Duration::from_millis(times * milliseconds));
        }
        let (took, refusal) = (Duration::from_secs(seconds), (refused > 0).then_some(429));
        Seen { responses, refused, refusal, took, latencies }
    }

    #[test]
    fn report_has_each_number_in_its_row_and_under_its_name() {
        let report = Report {
            creates: ResponseStats::of(&seen(60, 8, 3, 5)),
            reads: ResponseStats::of(&seen(500, 4, 0, 2)),
            commit_to_visible: Lag { looked_for: 59, p50_ms: 7.0, p99_ms: 81.0 },
        };
        let rows = rows(&report.text());
        let expected = [
            "responses per second p50 ms p99 ms refused",
            "creates 60 7.5 5.0 50.0 3",
            "reads 500 125.0 2.0 20.0 0",
            "commit to visible 59 7.0 81.0",
        ];
        assert_eq!(rows, expected);
        let json = serde_json::to_value(&report).unwrap();
        let reads = &json["reads"];
        assert_eq!((&reads["answered"], &reads["per_second"]), (&500.into(), &125.0.into()));
        let creates = &json["creates"];
        assert_eq!((&creates["answered"], &creates["per_second"]), (&60.into(), &7.5.into()));
        assert_eq!((&creates["refused"], &creates["refused_with"]), (&3.into(), &429.into()));
        let lag = serde_json::json!({"looked_for": 59, "p50_ms": 7.0, "p99_ms": 81.0});
        assert_eq!(json["commit_to_visible"], lag);
    }

    #[test]
    fn created_products_are_valid() {
        let creates = creates("secret", 1, Currency::default());
        for number in 0..100 {
            let request = written(&*creates, number);
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            assert_eq!(inventory::check(body.as_bytes()), Ok(()), "{body}");
        }
    }

    #[test]
    fn products_are_read_only_once_one_is_visible() {
        let visible = Arc::new(Mutex::new(Vec::new()));
        let reads = reads(Arc::clone(&visible));
        let line = |number| written(&*reads, number).lines().next().unwrap().to_owned();
        assert!(line(0).starts_with("GET /v1/catalog/products?category="), "{}", line(0));
        remember(&visible, ProductId::from_u128(7));
        assert!(line(0).ends_with("/00000000-0000-0000-0000-000000000007 HTTP/1.1"), "{}", line(0));
        assert!(line(1).starts_with("GET /v1/catalog/products?category="), "{}", line(1));
    }
}
