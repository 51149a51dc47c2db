//! What the sellers and buyers of a world know: what they were answered, and what they were not.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use serde_json::Value;
use testkit::Answer;
use uuid::Uuid;

use crate::operation::Request;

/// A change that was answered with a success: it may never be lost.
#[derive(Clone, Debug)]
pub(crate) enum Acknowledged {
    /// A product was, or became, exactly this.
    Product(Value),
    Stock {
        product: Uuid,
        stock: Value,
    },
    Deleted {
        product: Uuid,
        request: Uuid,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Products that somebody knows of, in the order in which they were heard of.
    pub(crate) products: Vec<Uuid>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Requests that name themselves and were not answered: they are sent until they are.
    pub(crate) unanswered: Vec<Request>,
    /// What each idempotency key of a create stands for.
    created: BTreeMap<String, Value>,
    /// The version of a product that its sellers heard of last.
    pub(crate) versions: HashMap<Uuid, i64>,
    /// The greatest version that buyers have seen.
    pub(crate) seen: HashMap<Uuid, i64>,
}

impl Model {
    /// Takes note of an answer.
    ///
    /// `floor` is the version that buyers had seen before the request was sent, if it is one of theirs.
    pub(crate) fn answered(&mut self, request: Request, answer: &Answer, floor: i64) {
        let status = answer.status.as_u16();
        assert_ne!(status, 500, "{request:?}: {}", answer.text);
        if status == 503 {
            self.lost(request);
        } else if request.path.starts_with("/v1/catalog/") {
            self.buyer_saw(answer, floor);
        } else if answer.status.is_success() {
            self.acknowledge(&request, answer);
        }
    }

    /// Takes note of a request to which there will be no answer.
    pub(crate) fn lost(&mut self, request: Request) {
        if request.key.is_some() {
            self.unanswered.push(request);
        }
    }

    fn acknowledge(&mut self, request: &Request, answer: &Answer) {
        let body = &answer.json;
        if let Some(results) = body["results"].as_array() {
            for result in results.iter().filter(|result| result["status"] == 201) {
                self.heard_of(&result["product"]);
            }
        } else if request.path.contains("/stock") {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            self.acknowledged.push(Acknowledged::Stock { product, stock: body.clone() });
        } else if request.method == Method::DELETE {
            let product = request.path.split('/').nth(3).unwrap().parse().unwrap();
            let request = answer.header("x-request-id").parse().unwrap();
            self.acknowledged.push(Acknowledged::Deleted { product, request });
        } else {
            self.heard_of(body);
            if let Some(key) = &request.key {
                let first = self.created.entry(key.clone()).or_insert_with(|| body.clone());
                assert_eq!(first, body, "{key} was answered in two ways");
            }
        }
    }

    fn heard_of(&mut self, product: &Value) {
        let id: Uuid = product["id"].as_str().unwrap().parse().unwrap();
        if !self.products.contains(&id) {
            self.products.push(id);
        }
        let version = product["version"].as_i64().unwrap();
        let known = self.versions.entry(id).or_default();
        *known = version.max(*known);
        self.acknowledged.push(Acknowledged::Product(product.clone()));
    }

    fn buyer_saw(&mut self, answer: &Answer, floor: i64) {
        // Lists may lag, and say so.
        if let Some(id) = answer.json["id"].as_str() {
            self.saw(id.parse().unwrap(), answer.json["version"].as_i64().unwrap(), floor);
        }
    }

    /// A buyer saw a version, or was told by a tombstone of that version that it is gone.
    pub(crate) fn saw(&mut self, id: Uuid, version: i64, floor: i64) {
        assert!(floor <= version, "{id} went back from version {floor} to {version}");
        let seen = self.seen.entry(id).or_default();
        *seen = version.max(*seen);
    }
}
