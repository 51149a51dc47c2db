//! Counts times prices.

use crate::prices::{Prices, Stage, Workloads};
use crate::usage::Usage;

const HOURS: f64 = 730.0;
const GB: f64 = 1e9;

/// Monthly users in Cognito's free tier. Without it, even the smallest shop would seem to pay.
pub(crate) const FREE_USERS: f64 = 10_000.0;

/// One line of a bill.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) usd: f64,
}

pub(crate) fn total(lines: &[Line]) -> f64 {
    lines.iter().map(|line| line.usd).sum()
}

fn line(what: impl Into<String>, usd: f64) -> Line {
    Line { what: what.into(), usd }
}

/// Usage of one operation of each kind.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) create: UnitUsage,
    pub(crate) change: UnitUsage,
    pub(crate) sale: UnitUsage,
    pub(crate) listing: UnitUsage,
    pub(crate) listing_of_everything: UnitUsage,
    pub(crate) product: UnitUsage,
}

/// Average usage of one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitUsage {
    pub(crate) events: f64,
    pub(crate) event_bytes: f64,
    /// Invocations of the projector.
    pub(crate) batches: f64,
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    pub(crate) response_bytes: f64,
}

impl UnitUsage {
    #[expect(clippy::cast_precision_loss, reason = "a test counts to a few hundred")]
    pub(crate) fn of(usage: &Usage) -> Self {
        let requests = usage.requests as f64;
        let batches = usage.batches as f64;
        // The projector reads the set of known categories every ten seconds, so the count depends on how
        // long the test takes. The model assumes one read a batch, which is an upper bound, of a set of
        // up to 4 KiB.
        let reads = if usage.puts() > 0 {
            usage.reads_of("BatchGetItem") + batches * 0.5
        } else {
            usage.read_units()
        };
        Self {
            events: usage.events as f64 / requests,
            event_bytes: usage.event_bytes as f64 / requests,
            batches: batches / requests,
            writes: usage.write_units() / requests,
            reads: reads / requests,
            response_bytes: usage.response_bytes as f64 / requests,
        }
    }
}

/// Counted usage, assumed workloads and list prices.
pub(crate) struct Model {
    pub(crate) counts: Counts,
    pub(crate) prices: Prices,
    pub(crate) workloads: Workloads,
}

impl Model {
    /// Cost from commit to listing of `count` changes with the usage `each`.
    pub(crate) fn propagation(&self, each: &UnitUsage, count: f64) -> Vec<Line> {
        let price = |name: &str, amount: f64| self.prices.of(name, amount * count);
        let seconds = self.workloads.gb_seconds("catalog-projector", each.batches * count);
        vec![
            line("EventBridge, events", price("eventbridge-event", each.events)),
            // EventBridge sends one request an event. Each batch takes one to receive and one to delete.
            line("SQS, requests", price("sqs-request", each.events + 2.0 * each.batches)),
            line(
                "projector, requests and GB-seconds",
                price("lambda-request", each.batches) + self.prices.of("lambda-gb-second", seconds),
            ),
            line("DynamoDB, write units", price("dynamodb-write-unit", each.writes)),
            line("DynamoDB, read units", price("dynamodb-read-unit", each.reads)),
        ]
    }

    /// Cost of keeping `count` changes for thirty days in the bus's archive, which nothing depends on.
    pub(crate) fn archive(&self, each: &UnitUsage, count: f64) -> f64 {
        self.prices.of("eventbridge-archive-gb", each.event_bytes * count / GB)
    }

    /// Cost of `count` invocations of a function, without API Gateway.
    pub(crate) fn function(&self, name: &str, count: f64) -> f64 {
        let seconds = self.workloads.gb_seconds(name, count);
        self.prices.of("lambda-request", count) + self.prices.of("lambda-gb-second", seconds)
    }

    /// Cost of `count` uncached pages or products, without API Gateway.
    pub(crate) fn reading(&self, each: &UnitUsage, count: f64) -> Vec<Line> {
        vec![
            line("catalog-api, requests and GB-seconds", self.function("catalog-api", count)),
            line("DynamoDB, read units", self.prices.of("dynamodb-read-unit", each.reads * count)),
        ]
    }

    /// Cost of a month's active users in the tier that the stack sets.
    pub(crate) fn users(&self, active: f64) -> f64 {
        let steps = [
            ("cognito-lite-user", FREE_USERS, 100_000.0),
            ("cognito-lite-user-above-100k", 100_000.0, 1_000_000.0),
            ("cognito-lite-user-above-1m", 1_000_000.0, f64::INFINITY),
        ];
        let paid = |(name, above, to): (_, f64, f64)| {
            self.prices.of(name, (active.min(to) - above).max(0.0))
        };
        steps.into_iter().map(paid).sum()
    }

    /// The bill of a stage for a month.
    pub(crate) fn month(&self, stage: &Stage) -> Vec<Line> {
        let Counts { create, change, sale, listing, product, .. } = &self.counts;
        let of = |name: &str, amount: f64| self.prices.of(name, amount);
        let past_the_edge = 1.0 - stage.at_the_edge;
        let (listings, products) = (stage.listings * past_the_edge, stage.products * past_the_edge);
        let written = stage.creates + stage.changes + stage.sales;
        let by_sellers = written + stage.seller_reads;
        let all = stage.listings + stage.products + by_sellers;
        let through = listings + products + by_sellers;
        let out = (stage.listings * listing.response_bytes
            + stage.products * product.response_bytes
            + by_sellers * create.response_bytes)
            / GB;
        let edge = if stage.edge {
            of("cloudfront-request", all)
                + of("cloudfront-out-gb", out)
                + of("waf-request", all)
                + of("waf-acl-month", 1.0)
                + of("waf-rule-month", self.workloads.watching.firewall_rules)
        } else {
            of("data-out-gb", out)
        };
        let propagated: Vec<Line> =
            [(create, stage.creates), (change, stage.changes), (sale, stage.sales)]
                .into_iter()
                .flat_map(|(each, count)| self.propagation(each, count))
                .collect();
        let archived = self.archive(create, stage.creates)
            + self.archive(change, stage.changes)
            + self.archive(sale, stage.sales);
        let sum_of = |start: &str| -> f64 {
            propagated.iter().filter(|line| line.what.starts_with(start)).map(|line| line.usd).sum()
        };
        let ticks = if stage.ticks { HOURS * 60.0 } else { 0.0 };
        let slices = ticks / 5.0;
        let functions = self.function("catalog-api", listings + products)
            + self.function("inventory-api", by_sellers)
            + self.function("inventory-relay", ticks)
            + self.function("sync-reconcile", slices)
            + sum_of("projector");
        // One pass a day reads every listing once, eventually consistent: half a unit for 4 KiB.
        let reconciled = of("dynamodb-read-unit", stage.stored_products * 30.0 * 0.15);
        let stored = of("dynamodb-storage-gb-month", stage.stored_products * 4_000.0 / GB);
        let listings_store = sum_of("DynamoDB")
            + of("dynamodb-read-unit", listings * listing.reads + products * product.reads)
            + reconciled
            + stored;
        let database = of("aurora-acu-hour", stage.acu * HOURS)
            + of("aurora-storage-gb-month", stage.database_gb)
            + of("aurora-io", stage.database_io)
            + of("secret-month", 1.0);
        let network = of("nat-gateway-hour", stage.nat_gateways * HOURS)
            + of("public-address-hour", stage.nat_gateways * HOURS)
            + of("nat-gateway-gb", stage.nat_gb)
            + of("interface-endpoint-hour", stage.interface_endpoints * HOURS);
        let alarms = if stage.budgets {
            &self.workloads.watching.with_budgets
        } else {
            &self.workloads.watching.without_budgets
        };
        let logged = (through + ticks + slices) * self.workloads.log_bytes / GB;
        let monitoring = of("cloudwatch-metric-month", self.workloads.watching.metrics)
            + of("cloudwatch-alarm-metric-month", alarms.alarm_metrics)
            + of("cloudwatch-composite-alarm-month", alarms.composites)
            + of("cloudwatch-dashboard-month", 1.0)
            + of("cloudwatch-logs-gb", logged);
        let users = self.users(stage.active_users);
        vec![
            line("edge: CloudFront and WAF, or data transfer out", edge),
            line("API Gateway", of("http-api-request", through)),
            line("functions", functions),
            line("listings: DynamoDB", listings_store),
            line("bus and queue", sum_of("EventBridge") + sum_of("SQS") + archived),
            line("PostgreSQL: Aurora", database),
            line("network: NAT or endpoints", network),
            line("monitoring: CloudWatch", monitoring),
            line("users: Cognito", users),
        ]
    }
}
