//! Requests every operation in every way that it can succeed or be refused. In the end the edition
//! must have given every response that the API description lists.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::RequestBuilder;
use serde_json::json;
use shared::id::ProductId;

use crate::openapi::{ApiResponse, DOCUMENT, OPERATIONS, Operation, send};
use crate::process::PASSWORD;
use crate::requests::{Requests, product, text};

/// Responses that no request can cause: the stores would have to be down.
const UNREACHABLE: [(&str, u16); 1] = [("GET /readyz", 503)];

struct Coverage {
    requests: Requests,
    buyer: String,
    seen: BTreeSet<(String, u16)>,
}

impl Coverage {
    async fn call(&mut self, request: RequestBuilder) -> ApiResponse {
        let response = send(request).await;
        if let Some(operation) = response.operation {
            self.seen.insert((operation.name(), response.status));
        }
        response
    }

    async fn expect(&mut self, status: u16, request: RequestBuilder) -> ApiResponse {
        let response = self.call(request).await;
        assert_eq!(response.status, status, "{response:?}");
        response
    }

    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.requests.to(method, path)
    }

    fn as_seller(&self, method: Method, path: &str) -> RequestBuilder {
        self.to(method, path).bearer_auth(&self.requests.seller)
    }

    /// Adds the token of a user that may call the operation.
    fn with_allowed_token(&self, operation: &Operation, request: RequestBuilder) -> RequestBuilder {
        match operation.path.as_str() {
            path if path.starts_with("/v1/admin/") => request.bearer_auth(&self.requests.operator),
            _ if operation.is_secured() => request.bearer_auth(&self.requests.seller),
            _ => request,
        }
    }

    /// Requests an operation once correctly, and then with each kind of invalid request.
    async fn request_all_ways(&mut self, operation: &'static Operation) {
        self.requests.renew().await;
        let valid = self.requests.valid(operation);
        self.call(self.with_allowed_token(operation, valid)).await;
        self.requests.renew().await;
        if operation.is_secured() {
            self.expect(401, self.requests.valid(operation)).await;
            self.expect(403, self.requests.valid(operation).bearer_auth(&self.buyer)).await;
        }
        if operation.path.contains('{') {
            let unknown = self.requests.about(operation, &ProductId::from_u128(7).to_string());
            let status = if operation.path.starts_with("/v1/catalog/") { 503 } else { 404 };
            self.expect(status, self.with_allowed_token(operation, unknown)).await;
        }
        let method: Method = operation.method.parse().unwrap();
        let path = operation.path.replace("{id}", &self.requests.product);
        let bare = self.with_allowed_token(operation, self.to(method, &path));
        let bare = || bare.try_clone().unwrap();
        if operation.takes("query") {
            self.expect(400, bare().query(&[("no_such_parameter", "1")])).await;
        }
        if operation.takes_header("If-Match") {
            self.expect(428, bare()).await;
            let mut stale = bare().header("if-match", "\"v99\"");
            if operation.takes_body() {
                stale = stale.json(&self.requests.body(&operation.name()));
            }
            self.expect(412, stale).await;
        }
        if operation.takes_body() {
            let sent = |kind: &str, body: String| {
                bare().header("if-match", "*").header("content-type", kind).body(body)
            };
            let json = "application/json";
            self.expect(400, sent(json, "{".to_owned())).await;
            self.expect(413, sent(json, " ".repeat(1024 * 1024 + 1))).await;
            self.expect(415, sent("text/plain", "{}".to_owned())).await;
            self.expect(422, sent(json, "{\"no_such_field\": 1}".to_owned())).await;
        }
    }

    async fn request_as_seller(&mut self) {
        let post = |coverage: &Self, key: &str, sku: &str| {
            let create = coverage.as_seller(Method::POST, "/v1/products");
            create.header("idempotency-key", key).json(&product(sku))
        };
        self.expect(201, post(self, "one", "ONE")).await;
        let replayed = self.expect(201, post(self, "one", "ONE")).await;
        assert_eq!(replayed.headers["idempotent-replayed"], "true");
        self.expect(422, post(self, "one", "TWO")).await;
        self.expect(409, post(self, "two", "ONE")).await;

        let own = format!("/v1/products/{}", text(&replayed, "id"));
        let tag = replayed.headers["etag"].clone();
        let get = self.as_seller(Method::GET, &own).header("if-none-match", tag);
        self.expect(304, get).await;
        let adjustments = format!("{own}/stock/adjustments");
        let adjust = self.as_seller(Method::POST, &adjustments);
        self.expect(409, adjust.json(&json!({"delta": -6, "reason": "lost"}))).await;
        let other = self.expect(201, post(self, "three", "THREE")).await;
        let other = format!("/v1/products/{}", text(&other, "id"));
        let patch = self.as_seller(Method::PATCH, &other).header("if-match", "*");
        self.expect(409, patch.json(&json!({"sku": "ONE"}))).await;

        let delete = self.as_seller(Method::DELETE, &own).header("if-match", "*");
        self.expect(204, delete).await;
        self.expect(201, post(self, "four", "ONE")).await;
        self.expect(409, self.as_seller(Method::POST, &format!("{own}/restore"))).await;
        let history = format!("{own}/history");
        let page = self.as_seller(Method::GET, &history).query(&[("limit", "1")]);
        let page = self.expect(200, page).await;
        assert!(page.headers["link"].to_str().unwrap().contains("rel=\"next\""));
        let entry = &page.json["data"][0];
        let as_of = self.as_seller(Method::GET, &history);
        let as_of = as_of.query(&[("as_of", entry["at"].as_str().unwrap())]);
        let as_of = self.expect(200, as_of).await;
        assert_eq!(as_of.json, entry["product"]);
        self.expect(200, self.as_seller(Method::GET, "/v1/products?limit=1")).await;
        self.set_stock_below_held(&other).await;
    }

    /// Stock cannot be set below the quantity that buyers hold.
    async fn set_stock_below_held(&mut self, product: &str) {
        let id: ProductId = product.rsplit('/').next().unwrap().parse().unwrap();
        sqlx::query("update inventory.stock set held = 3 where product_id = $1")
            .bind(id)
            .execute(&mut self.requests.process.database().await)
            .await
            .unwrap();
        let put = self.as_seller(Method::PUT, &format!("{product}/stock"));
        self.expect(409, put.header("if-match", "*").json(&json!({"on_hand": 2}))).await;
    }

    async fn request_as_buyer(&mut self) {
        let product = format!("/v1/catalog/products/{}", self.requests.product);
        let shown = self.expect(200, self.to(Method::GET, &product)).await;
        let again = self.to(Method::GET, &product);
        self.expect(304, again.header("if-none-match", shown.headers["etag"].clone())).await;
        let unknown = format!("/v1/catalog/products/{}", ProductId::from_u128(7));
        self.expect(404, self.to(Method::GET, &unknown)).await;
        self.expect(422, self.to(Method::GET, &format!("{product}?min_version=0"))).await;
        for (status, query) in [
            (200, "limit=1&sort=price"),
            (200, "in_stock=true&price_min=1&price_max=20000"),
            (422, "category=shoes&seller=00000000-0000-0000-0000-000000000001"),
        ] {
            let list = self.to(Method::GET, &format!("/v1/catalog/products?{query}"));
            self.expect(status, list).await;
        }
    }

    async fn request_as_new_user(&mut self) {
        let email = "ana@shop.example";
        let post = |coverage: &Self, path: &str, body| {
            coverage.to(Method::POST, &format!("/v1/auth/{path}")).json(&body)
        };
        let ana = json!({"email": email, "password": PASSWORD, "name": "Ana", "role": "seller"});
        self.expect(202, post(self, "signup", ana)).await;
        let code = self.requests.process.mailed_code(email).await;
        let activation = json!({"email": email, "code": code});
        self.expect(204, post(self, "activate", activation)).await;
        self.expect(202, post(self, "password/forgot", json!({"email": email}))).await;
        let code = self.requests.process.mailed_code(email).await;
        let reset = json!({"email": email, "code": code, "password": "another sentence"});
        self.expect(204, post(self, "password/reset", reset)).await;
        let old = json!({"email": email, "password": PASSWORD});
        self.expect(401, post(self, "login", old)).await;
        let unknown = json!({"refresh_token": "unknown"});
        self.expect(401, post(self, "refresh", unknown)).await;
    }
}

#[tokio::test]
async fn every_described_response_occurs_and_no_other() {
    let data = tempfile::tempdir().unwrap();
    let requests = Requests::start(data.path()).await;
    let buyer = requests.process.token(&requests.http, "buyer").await;
    let served = requests.to(Method::GET, "/openapi.json").send().await.unwrap();
    let served: serde_json::Value = served.json().await.unwrap();
    assert!(served == *DOCUMENT, "the served description differs from that of the code");

    let mut coverage = Coverage { requests, buyer, seen: BTreeSet::new() };
    for operation in OPERATIONS.iter() {
        coverage.request_all_ways(operation).await;
    }
    coverage.request_as_seller().await;
    coverage.request_as_buyer().await;
    coverage.request_as_new_user().await;
    let described = OPERATIONS
        .iter()
        .flat_map(|operation| operation.statuses().map(|status| (operation.name(), status)));
    let missing: Vec<_> = described
        .filter(|response| !coverage.seen.contains(response))
        .filter(|(operation, status)| !UNREACHABLE.contains(&(operation.as_str(), *status)))
        .collect();
    assert!(missing.is_empty(), "described, but never given: {missing:#?}");
    coverage.requests.process.terminate().await;
}
