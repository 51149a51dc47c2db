//! Reads the list prices and the assumed workloads.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) currency: String,
    #[serde(rename = "prices")]
    list: BTreeMap<String, Price>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    usd: f64,
    per: f64,
    /// Date or month of the source, or `undated`.
    pub(crate) as_of: String,
    pub(crate) source: String,
}

impl Prices {
    pub(crate) fn read() -> Self {
        document("prices.yaml")
    }

    /// Price of `count` units in dollars.
    pub(crate) fn of(&self, name: &str, count: f64) -> f64 {
        let price = self.list.get(name).unwrap_or_else(|| panic!("{name} has no price"));
        count * price.usd / price.per
    }

    /// Prices without a published source.
    pub(crate) fn unsourced(&self) -> Vec<&str> {
        let unsourced = self.list.iter().filter(|(_, price)| price.source == "none");
        unsourced.map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Price)> {
        self.list.iter()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workloads {
    functions: BTreeMap<String, Function>,
    pub(crate) batch: u32,
    pub(crate) log_bytes: f64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) watching: MonitoringPrices,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Function {
    mib: f64,
    ms: f64,
}

/// A stage's workload in a month.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) listings: f64,
    pub(crate) products: f64,
    pub(crate) seller_reads: f64,
    pub(crate) creates: f64,
    pub(crate) changes: f64,
    pub(crate) sales: f64,
    pub(crate) at_the_edge: f64,
    pub(crate) active_users: f64,
    pub(crate) stored_products: f64,
    pub(crate) acu: f64,
    pub(crate) database_gb: f64,
    pub(crate) database_io: f64,
    pub(crate) nat_gateways: f64,
    pub(crate) nat_gb: f64,
    pub(crate) interface_endpoints: f64,
    pub(crate) edge: bool,
    pub(crate) ticks: bool,
    pub(crate) budgets: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitoringPrices {
    pub(crate) metrics: f64,
    pub(crate) with_budgets: Alarms,
    pub(crate) without_budgets: Alarms,
    pub(crate) firewall_rules: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alarms {
    pub(crate) alarm_metrics: f64,
    pub(crate) composites: f64,
}

impl Workloads {
    pub(crate) fn read() -> Self {
        document("workloads.yaml")
    }

    /// GB-seconds of so many warm invocations.
    pub(crate) fn gb_seconds(&self, function: &str, invocations: f64) -> f64 {
        let Function { mib, ms } = &self.functions[function];
        invocations * mib / 1024.0 * ms / 1000.0
    }
}

fn document<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
