//! What sellers and buyers know: the answers that they got, and the requests without an answer.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use serde_json::Value;
use shared::id::{ProductId, RequestId};
use testkit::Answer;

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
    /// Unanswered requests with an idempotency key. They are retried until they are answered.
    pub(crate) unanswered: Vec<Request>,
    /// The first answer for each idempotency key of a create.
    created: BTreeMap<String, Value>,
    /// The greatest version of each product in an answer to a seller.
    pub(crate) versions: HashMap<ProductId, i64>,
    /// The greatest version of each product that buyers have seen.
    pub(crate) seen: HashMap<ProductId, i64>,
}

impl Model {
    /// Records an answer.
    ///
    /// `floor` is the version that buyers had seen before a buyer's request was sent.
    pub(crate) fn answered(&mut self, request: Request, answer: &Answer, floor: i64) {
        let status = answer.status.as_u16();
        assert_ne!(status, 500, "{request:?}: {}", answer.text);
        if status == 503 {
            self.lost(request);
        } else if request.path.starts_with("/v1/catalog/") {
            self.record_buyer_answer(answer, floor);
        } else if answer.status.is_success() {
            self.acknowledge(&request, answer);
        }
    }

    /// Records a request without an answer.
    pub(crate) fn lost(&mut self, request: Request) {
        if request.key.is_some() {
            self.unanswered.push(request);
        }
    }

    fn acknowledge(&mut self, request: &Request, answer: &Answer) {
        let body = &answer.json;
        if let Some(results) = body["results"].as_array() {
            for result in results.iter().filter(|result| result["status"] == 201) {
                self.record_product(&result["product"]);
            }
        } else if request.path.contains("/stock") {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            self.acknowledged.push(Acknowledged::Stock { product, stock: body.clone() });
        } else if request.method == Method::DELETE {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            let request = answer.header("x-request-id").parse().unwrap();
            self.acknowledged.push(Acknowledged::Deleted { product, request });
        } else {
            self.record_product(body);
            if let Some(key) = &request.key {
                let first = self.created.entry(key.clone()).or_insert_with(|| body.clone());
                assert_eq!(first, body, "{key} got two different answers");
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

    fn record_buyer_answer(&mut self, answer: &Answer, floor: i64) {
        // Lists may lag, as documented, so only reads by id count.
        if let Some(id) = answer.json["id"].as_str() {
            self.record_seen(id.parse().unwrap(), answer.json["version"].as_i64().unwrap(), floor);
        }
    }

    /// Records that a buyer saw a version, or a deletion in that version.
    pub(crate) fn record_seen(&mut self, id: ProductId, version: i64, floor: i64) {
        assert!(floor <= version, "{id} went back from version {floor} to {version}");
        let seen = self.seen.entry(id).or_default();
        *seen = version.max(*seen);
    }
}
