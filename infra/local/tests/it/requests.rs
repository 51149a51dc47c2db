//! A valid request for each operation of the API.

use std::cell::Cell;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::eventually;
use uuid::Uuid;

use crate::openapi::{ApiResponse, Operation, send};
use crate::process::Process;

/// Builds requests, and creates the objects that they are about.
pub(crate) struct Requests {
    pub(crate) http: reqwest::Client,
    pub(crate) process: Process,
    pub(crate) seller: String,
    pub(crate) operator: String,
    pub(crate) product: String,
    reconciliation: String,
    pub(crate) refresh_token: String,
    database: PgConnection,
    used: Cell<u32>,
}

impl Requests {
    pub(crate) async fn start(data: &std::path::Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// As [`Self::start`], with these settings of the edition.
    pub(crate) async fn start_with(data: &std::path::Path, settings: &[(&str, &str)]) -> Self {
        let process = Process::start_with(data, settings).await;
        let http = reqwest::Client::new();
        let mut requests = Self {
            seller: process.token(&http, "seller").await,
            operator: process.token(&http, "operator").await,
            product: String::new(),
            reconciliation: String::new(),
            refresh_token: String::new(),
            database: process.database().await,
            used: Cell::new(0),
            http,
            process,
        };
        requests.renew().await;
        requests
    }

    pub(crate) fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.process.url))
    }

    /// A name that was not used before.
    pub(crate) fn fresh(&self) -> String {
        self.used.set(self.used.get() + 1);
        format!("A-{}", self.used.get())
    }

    /// Creates a product of the seller that is listed, a dead letter, a reconciliation and a session that
    /// no request has used.
    pub(crate) async fn renew(&mut self) {
        let create = self.to(Method::POST, "/v1/products").bearer_auth(&self.seller);
        let created = send(create.json(&product(&self.fresh()))).await;
        text(&created, "id").clone_into(&mut self.product);
        let listing = format!("/v1/catalog/products/{}", self.product);
        eventually("the product to be listed", async || {
            let listed = send(self.to(Method::GET, &listing)).await;
            (listed.status == 200).then_some(())
        })
        .await;
        let start = self.to(Method::POST, "/v1/admin/reconciliations").bearer_auth(&self.operator);
        let started = send(start.json(&json!({}))).await;
        text(&started, "id").clone_into(&mut self.reconciliation);
        let login = self.to(Method::POST, "/v1/auth/login").json(&self.process.buyer_login());
        text(&send(login).await, "refresh_token").clone_into(&mut self.refresh_token);
        sqlx::query(
            "insert into bus.dead_letters values
             (1, 'catalog', $1, 'ProductUpdated', $1, '{}', 'planted', 5, now(), now())
             on conflict do nothing",
        )
        .bind(Uuid::from_u128(1))
        .execute(&mut self.database)
        .await
        .unwrap();
    }

    /// A request that succeeds for an allowed caller. If it needs a code from a mail, the code is wrong.
    pub(crate) fn valid(&self, operation: &Operation) -> RequestBuilder {
        let id = match operation.path.as_str() {
            "/v1/admin/dead-letters/{id}" => "1",
            "/v1/admin/reconciliations/{id}" => &self.reconciliation,
            _ => &self.product,
        };
        self.about(operation, id)
    }

    /// A valid request for the object with this id.
    pub(crate) fn about(&self, operation: &Operation, id: &str) -> RequestBuilder {
        let method = operation.method.parse().unwrap();
        let mut request = self.to(method, &operation.path.replace("{id}", id));
        if operation.takes_header("If-Match") {
            request = request.header("if-match", "*");
        }
        if operation.path == "/v1/catalog/products/{id}" {
            request = request.query(&[("min_version", "1")]);
        }
        if operation.takes_body() { request.json(&self.body(&operation.name())) } else { request }
    }

    /// A valid body for the operation.
    pub(crate) fn body(&self, operation: &str) -> Value {
        let fresh = self.fresh();
        let email = format!("{}@shop.example", fresh.to_lowercase());
        let password = crate::process::PASSWORD;
        match operation {
            "POST /v1/products" => product(&fresh),
            "POST /v1/products/batch" => json!({"items": [product(&fresh), {"sku": "B"}]}),
            "PATCH /v1/products/{id}" => json!({"name": fresh, "attributes": {"size": 43.5}}),
            "PUT /v1/products/{id}/stock" => json!({"on_hand": 7}),
            "POST /v1/products/{id}/stock/adjustments" => json!({"delta": 1, "reason": "found"}),
            "POST /v1/admin/dead-letters/discard" | "POST /v1/admin/dead-letters/redrive" => {
                json!({"ids": [1]})
            }
            "POST /v1/admin/reconciliations" => json!({"deep": true}),
            "POST /v1/auth/activate" => json!({"email": email, "code": "000000"}),
            "POST /v1/auth/login" => self.process.buyer_login(),
            "POST /v1/auth/logout" | "POST /v1/auth/refresh" => {
                json!({"refresh_token": self.refresh_token})
            }
            "POST /v1/auth/password/forgot" => json!({"email": email}),
            "POST /v1/auth/password/reset" => {
                json!({"email": email, "code": "000000", "password": password})
            }
            "POST /v1/auth/signup" => json!({
                "email": email, "password": password, "name": "Ana Souza", "role": "seller"
            }),
            other => panic!("add a body for {other}"),
        }
    }
}

pub(crate) fn product(sku: &str) -> Value {
    json!({
        "sku": sku, "name": "Running shoe", "category": "shoes", "description": "Runs by itself",
        "attributes": {"size": 42, "weight": 0.25, "color": "red", "new": true},
        "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
    })
}

/// A string field of a response.
pub(crate) fn text<'a>(response: &'a ApiResponse, field: &str) -> &'a str {
    response.json[field].as_str().unwrap_or_else(|| panic!("no {field} in {response:?}"))
}
