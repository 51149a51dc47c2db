//! Invariants that must hold once all work has settled.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Value, json};
use shared::id::{ProductId, RequestId};
use sqlx::Row as _;
use testkit::BuyersList;

use crate::model::Acknowledged;
use crate::operation::Done;
use crate::simulation::Simulation;

/// The orders of lists.
static ORDERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    BuyersList::orders(&serde_json::to_value(catalog::routes().into_openapi()).unwrap())
});

/// The journal entry of each version of each product and of each stock.
type Journal = HashMap<(String, ProductId, i64), Value>;

impl Simulation {
    /// Checks that no acknowledged change is lost, and that every listing equals its product, field by
    /// field.
    pub(crate) async fn check(&mut self) {
        let journal = self.check_journal().await;
        self.check_acknowledged(&journal).await;
        let products = self.check_listings().await;
        self.check_lists(&products).await;
    }

    async fn get(&mut self, path: &str) -> (u16, Value) {
        let operation = self.send(Method::GET, path.to_owned(), None);
        let Done::Response(response) = self.finish(operation).await else { unreachable!() };
        assert!(response.status.as_u16() < 500, "{path}: {}", response.text);
        (response.status.as_u16(), response.json)
    }

    /// The categories that buyers see.
    pub(crate) async fn categories(&mut self) -> Vec<String> {
        let (_, categories) = self.get("/v1/catalog/categories").await;
        let categories = categories["data"].as_array().unwrap().iter();
        categories.map(|category| category["slug"].as_str().unwrap().to_owned()).collect()
    }

    /// All elements of a paged list.
    async fn list(&mut self, path: &str) -> Vec<Value> {
        let (mut cards, mut next) = (Vec::new(), path.to_owned());
        loop {
            let (_, page) = self.get(&next).await;
            cards.extend_from_slice(page["data"].as_array().unwrap());
            let Some(cursor) = page["page"]["next_cursor"].as_str() else { return cards };
            next = format!("{path}&cursor={cursor}");
        }
    }

    /// Checks every product against its last journal entry.
    async fn check_journal(&mut self) -> Journal {
        let pool = &self.database.pool;
        let entries =
            sqlx::query("select aggregate, aggregate_id, version, event from inventory.journal")
                .fetch_all(pool)
                .await
                .unwrap();
        let entries = entries.into_iter().map(|row| {
            ((row.get("aggregate"), row.get("aggregate_id"), row.get("version")), row.get("event"))
        });
        let journal: Journal = entries.collect();
        let skus =
            sqlx::query("select sku from inventory.products group by sku having count(*) > 1")
                .fetch_all(pool)
                .await
                .unwrap();
        assert!(skus.is_empty(), "{} products were created twice", skus.len());
        let products: Vec<(ProductId, i64, String, bool)> = sqlx::query_as(
            "select id, version, content_hash, deleted_at is not null from inventory.products",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        for (id, version, hash, is_deleted) in products {
            let entry = &journal[&("product".to_owned(), id, version)]["data"]["product"];
            assert_eq!(entry["content_hash"], json!(hash), "{id}");
            assert_eq!(entry.get("deleted_at").is_some(), is_deleted, "{id}");
            assert!(
                !journal.contains_key(&("product".to_owned(), id, version + 1)),
                "{id} is behind its journal"
            );
            if !self.model.products.contains(&id) {
                self.model.products.push(id);
            }
        }
        journal
    }

    /// Checks that every acknowledged change is in the journal.
    async fn check_acknowledged(&self, journal: &Journal) {
        let deletions: BTreeSet<(ProductId, RequestId)> = sqlx::query_as(
            "select aggregate_id, request_id from inventory.journal where change = 'deleted'",
        )
        .fetch_all(&self.database.pool)
        .await
        .unwrap()
        .into_iter()
        .collect();
        for change in &self.model.acknowledged {
            match change {
                Acknowledged::Product(product) => {
                    let id = product["id"].as_str().unwrap().parse().unwrap();
                    let version = product["version"].as_i64().unwrap();
                    let entry = journal.get(&("product".to_owned(), id, version));
                    let entry = entry.unwrap_or_else(|| panic!("{id} lost version {version}"));
                    assert_eq!(&entry["data"]["product"], product);
                }
                Acknowledged::Stock { product, stock } => {
                    let version = stock["version"].as_i64().unwrap();
                    let aggregate = if version == 1 { "product" } else { "stock" };
                    let entry = journal.get(&(aggregate.to_owned(), *product, version));
                    let entry = entry.unwrap_or_else(|| panic!("{product} lost stock {version}"));
                    assert_eq!(entry["data"]["stock"]["on_hand"], stock["on_hand"], "{product}");
                }
                Acknowledged::Deleted { product, request } => {
                    let is_recorded = deletions.contains(&(*product, *request));
                    assert!(is_recorded, "the deletion of {product} was lost");
                }
            }
        }
    }

    /// Compares every product with its listing. Returns the products that buyers see.
    async fn check_listings(&mut self) -> Vec<Value> {
        let mut seen = Vec::new();
        for id in self.model.products.clone() {
            let (status, product) = self.get(&format!("/v1/products/{id}")).await;
            let (_, stock) = self.get(&format!("/v1/products/{id}/stock")).await;
            let (shown, mut listing) = self.get(&format!("/v1/catalog/products/{id}")).await;
            if status != 200 || product["status"] != "active" {
                assert_eq!(shown, 404, "{id} is in the catalogue: {listing}");
                continue;
            }
            assert_eq!(shown, 200, "{id} is not in the catalogue: {product}");
            let fields = listing.as_object_mut().unwrap();
            let in_stock = fields.remove("in_stock").unwrap();
            assert_eq!(fields.remove("available"), Some(stock["available"].clone()), "{id}");
            assert_eq!(in_stock, stock["available"].as_i64().unwrap() > 0, "{id}");
            let mut card = product.clone();
            card.as_object_mut().unwrap().remove("status");
            assert_eq!(listing, card);
            card["in_stock"] = in_stock;
            seen.push(card);
        }
        seen
    }

    /// Checks every scope in every order. Each of these lists has everything or only what is in stock or
    /// sold out, so that runs with other numbers of products check the others.
    async fn check_lists(&mut self, products: &[Value]) {
        let known = self.categories().await;
        let all = |name: &str| -> BTreeSet<String> {
            products.iter().map(|product| product[name].as_str().unwrap().to_owned()).collect()
        };
        for category in all("category") {
            assert!(known.contains(&category), "{category} is not among {known:?}");
        }
        // Categories that are no longer in use are still recorded, until the next pass.
        let categories = known
            .into_iter()
            .map(|category| BuyersList { category: Some(category), ..BuyersList::default() });
        let sellers = all("seller_id")
            .into_iter()
            .map(|seller| BuyersList { seller: Some(seller), ..BuyersList::default() });
        let scopes = std::iter::once(BuyersList::default()).chain(categories).chain(sellers);
        for (nth, scope) in scopes.enumerate() {
            for (order, sort) in ORDERS.iter().enumerate() {
                let in_stock = [None, Some(true), Some(false)][(products.len() + nth + order) % 3];
                let list = BuyersList { sort: Some(sort.clone()), in_stock, ..scope.clone() };
                let cards = self.list(&list.path(100)).await;
                list.check(products, &cards, "at the end");
            }
        }
    }
}
