//! P5 and P6: a page of twenty products in stock. The uncached page is compared with its query on the
//! store, the cached one with a server that has the page in memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vitrina::edition::TABLE;

use super::{CONNECTIONS, Outcome, rounds, split};
use crate::dynamo;
use crate::edition::{Edition, READ_API};
use crate::goal::{Bound, Figure, Measure, Sample};
use crate::load::{self, Load, closed_loop};
use crate::server::{self, Server};
use crate::setup::Setup;
use crate::snapshot;

pub(crate) const WHAT: &str = "page of 20 in stock, uncached";

pub(crate) const CACHED: &str = "page of 20 in stock, cached";

/// Products in the catalogue.
const PRODUCTS: u64 = 10_000;

/// Number of prices that a page can start at: so many that no cache has the requested page.
const PRICES: u64 = 800_000;

/// The lowest price in the request with this number.
fn price(number: u64) -> u64 {
    // The step and the number of prices are coprime, so that every price is used.
    number.wrapping_mul(350_377) % PRICES
}

/// P5: each request starts at another price.
pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let folder = snapshot::copy_listings(setup, PRODUCTS).await?;
    let edition = Edition::at(folder.path(), READ_API).await?;
    let seen = rounds(setup, "P5", async || {
        let at_best = closed_loop(&query(setup, &edition)).await?;
        let path = |number| {
            format!("/v1/catalog/products?in_stock=true&sort=price&price_min={}", price(number))
        };
        let ours = closed_loop(&pages(setup, edition.api, path)).await?;
        Ok((Sample::new(at_best.stat(), ours.stat()), (ours.refused, ours.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.8)];
    Ok(vec![Figure { what: WHAT.to_owned(), unit: "/s", bounds, samples, note }].into())
}

/// P6: every request is for the same page.
pub(crate) async fn measure_cached(setup: &Setup) -> anyhow::Result<Outcome> {
    let folder = snapshot::copy_listings(setup, PRODUCTS).await?;
    let edition = Edition::at(folder.path(), READ_API).await?;
    let bare = Server::start(&[server::BARE], &folder.path().join("bare.log")).await?;
    let seen = rounds(setup, "P6", async || {
        let at_best = closed_loop(&pages(setup, bare.address, |_| "/list".to_owned())).await?;
        let path = |_| "/v1/catalog/products?in_stock=true".to_owned();
        let ours = closed_loop(&pages(setup, edition.api, path)).await?;
        Ok((Sample::new(at_best.stat(), ours.stat()), (ours.refused, ours.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.5)];
    Ok(vec![Figure { what: CACHED.to_owned(), unit: "/s", bounds, samples, note }].into())
}

/// Requests for pages.
pub(super) fn pages(
    setup: &Setup,
    address: std::net::SocketAddr,
    path: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Load {
    Load {
        address,
        connections: CONNECTIONS,
        duration: Duration::from_secs(setup.seconds),
        status: 200,
        request: Arc::new(move |number, buffer| load::get(&path(number), buffer)),
        observe: None,
    }
}

/// The query of the same pages on the store, with the same index and prices.
fn query(setup: &Setup, edition: &Edition) -> Load {
    Load {
        address: edition.dynamodb,
        connections: CONNECTIONS,
        duration: Duration::from_secs(setup.seconds),
        status: 200,
        request: Arc::new(|number, buffer| {
            let body = json!({
                "TableName": TABLE,
                "IndexName": "all_by_price",
                "KeyConditionExpression": "#p = :p and #s between :low and :high",
                "ExpressionAttributeNames": { "#p": "all_key", "#s": "price_key" },
                "ExpressionAttributeValues": {
                    ":p": { "S": "BRL#i" },
                    ":low": { "S": format!("{:013}#", price(number)) },
                    ":high": { "S": "9999999999999#g" },
                },
                "ScanIndexForward": true,
                "Limit": 20,
            });
            dynamo::call("Query", &body.to_string(), buffer);
        }),
        observe: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_is_used_once_before_any_repeats() {
        let prices: std::collections::BTreeSet<u64> = (0..PRICES).map(price).collect();
        assert_eq!(prices.len(), usize::try_from(PRICES).unwrap());
    }
}
