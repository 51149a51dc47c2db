//! Invariants that must hold once all work has settled.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::http::Method;
use serde_json::{Value, json};
use shared::id::{ProductId, RequestId};
use sqlx::Row as _;

use crate::model::Acknowledged;
use crate::operation::Done;
use crate::simulation::Simulation;

/// The journal entry of each version of each product and of each stock.
type Journal = HashMap<(String, ProductId, i64), Value>;

impl Simulation {
    /// Checks that no acknowledged change is lost, and that every listing equals its product, field by
    /// field.
    pub(crate) async fn check(&mut self) {
        let journal = self.check_journal().await;
        self.check_acknowledged(&journal).await;
        let expected = self.check_listings().await;
        self.check_lists(expected).await;
    }

    async fn get(&mut self, path: &str) -> (u16, Value) {
        let operation = self.send(Method::GET, path.to_owned(), None);
        let Done::Response(response) = self.finish(operation).await else { unreachable!() };
        assert!(response.status.as_u16() < 500, "{path}: {}", response.text);
        (response.status.as_u16(), response.json)
    }

    /// The categories that buyers see.
    pub(crate) async fn categories(&mut self) -> String {
        self.get("/v1/catalog/categories").await.1["data"].to_string()
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

    /// Compares every product with its listing. Returns the expected elements of lists, by category.
    async fn check_listings(&mut self) -> BTreeMap<String, BTreeMap<ProductId, Value>> {
        let mut expected: BTreeMap<String, BTreeMap<ProductId, Value>> = BTreeMap::new();
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
            let category = product["category"].as_str().unwrap().to_owned();
            expected.entry(category).or_default().insert(id, card);
        }
        expected
    }

    /// Checks that lists show exactly the expected elements.
    async fn check_lists(&mut self, expected: BTreeMap<String, BTreeMap<ProductId, Value>>) {
        let known = self.categories().await;
        for (category, mut products) in expected {
            assert!(known.contains(&category), "{category} is not among {known}");
            for in_stock in [true, false] {
                let path = format!(
                    "/v1/catalog/products?category={category}&in_stock={in_stock}&limit=100"
                );
                for card in self.list(&path).await {
                    let id = card["id"].as_str().unwrap().parse().unwrap();
                    let product = products.remove(&id);
                    let product = product.unwrap_or_else(|| panic!("{id} must not be in {path}"));
                    for (name, value) in card.as_object().unwrap() {
                        assert_eq!(value, &product[name], "{name} of {id} in {path}");
                    }
                }
            }
            let missing = products.into_keys().collect::<Vec<_>>();
            assert!(missing.is_empty(), "not in the lists of {category}: {missing:?}");
        }
    }
}
