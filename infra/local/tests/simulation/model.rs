//! What sellers and buyers know: the responses that they got, and the requests without a response.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use serde_json::Value;
use shared::id::{ProductId, RequestId};
use testkit::TestResponse;

use crate::operation::Request;

/// An acknowledged change. It may never be lost.
#[derive(Clone, Debug)]
pub(crate) enum Acknowledged {
    /// A product had exactly this state.
    Product(Value),
    Stock {
        product: ProductId,
        stock: Value,
    },
    Deleted {
        product: ProductId,
        request: RequestId,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Known products, in the order in which they became known.
    pub(crate) products: Vec<ProductId>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Requests with an idempotency key that got no response. They are retried until they do.
    pub(crate) without_response: Vec<Request>,
    /// The first response for each idempotency key of a create.
    created: BTreeMap<String, Value>,
    /// The greatest version of each product in a response to a seller.
    pub(crate) versions: HashMap<ProductId, i64>,
    /// The greatest version of each product that buyers have seen.
    pub(crate) seen: HashMap<ProductId, i64>,
}

impl Model {
    /// Records a response.
    ///
    /// `floor` is the version that buyers had seen before a buyer's request was sent.
    pub(crate) fn record_response(
        &mut self,
        request: Request,
        response: &TestResponse,
        floor: i64,
    ) {
        let status = response.status.as_u16();
        assert_ne!(status, 500, "{request:?}: {}", response.text);
        if status == 503 {
            self.lost(request);
        } else if request.path.starts_with("/v1/catalog/") {
            self.record_buyer_response(response, floor);
        } else if response.status.is_success() {
            self.acknowledge(&request, response);
        }
    }

    /// Records a request without a response.
    pub(crate) fn lost(&mut self, request: Request) {
        if request.key.is_some() {
            self.without_response.push(request);
        }
    }

    fn acknowledge(&mut self, request: &Request, response: &TestResponse) {
        let body = &response.json;
        if let Some(results) = body["results"].as_array() {
            for result in results.iter().filter(|result| result["status"] == 201) {
                self.record_product(&result["product"]);
            }
        } else if request.path.contains("/stock") {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            self.acknowledged.push(Acknowledged::Stock { product, stock: body.clone() });
        } else if request.method == Method::DELETE {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            let request = response.header("x-request-id").parse().unwrap();
            self.acknowledged.push(Acknowledged::Deleted { product, request });
        } else {
            self.record_product(body);
            if let Some(key) = &request.key {
                let first = self.created.entry(key.clone()).or_insert_with(|| body.clone());
                assert_eq!(first, body, "{key} got two different responses");
            }
        }
    }

    fn record_product(&mut self, product: &Value) {
        let id: ProductId = product["id"].as_str().unwrap().parse().unwrap();
        if !self.products.contains(&id) {
            self.products.push(id);
        }
        let version = product["version"].as_i64().unwrap();
        let known = self.versions.entry(id).or_default();
        *known = version.max(*known);
        self.acknowledged.push(Acknowledged::Product(product.clone()));
    }

    fn record_buyer_response(&mut self, response: &TestResponse, floor: i64) {
        // Lists may lag, as documented, so only reads by id count.
        if let Some(id) = response.json["id"].as_str() {
            self.record_seen(
                id.parse().unwrap(),
                response.json["version"].as_i64().unwrap(),
                floor,
            );
        }
    }

    /// Records that a buyer saw a version, or a deletion in that version.
    pub(crate) fn record_seen(&mut self, id: ProductId, version: i64, floor: i64) {
        assert!(floor <= version, "{id} went back from version {floor} to {version}");
        let seen = self.seen.entry(id).or_default();
        *seen = version.max(*seen);
    }
}
