//! One idempotency key in two requests: every pair of routes, sellers and bodies. The routes come from the
//! API description, so that a new route with keys fails until it has a row.

use serde_json::{Value, json};
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::{Call, TestResponse};

use crate::{TestService, path_of, shoe};

/// A use of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Use {
    route: &'static str,
    seller: usize,
    /// Which of the bodies of the route.
    body: usize,
}

/// How the second use of a key is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Fresh,
    Replayed,
    Refused,
}

/// Routes that take a key, each with the number of its bodies.
const ROUTES: [(&str, usize); 3] = [
    ("post /v1/products", 2),
    ("post /v1/products/batch", 2),
    // Another number of pieces, and another product.
    ("post /v1/products/{id}/stock/adjustments", 3),
];

struct Sellers {
    service: TestService,
    tokens: [String; 2],
    /// The paths of two products of each.
    products: [[String; 2]; 2],
}

impl Sellers {
    async fn new() -> Self {
        let service = TestService::new().await;
        let other = service.tokens.token(UserId::from_u128(9), Role::Seller);
        let tokens = [service.seller.clone(), other];
        let mut products: [[String; 2]; 2] = Default::default();
        for (token, products) in tokens.iter().zip(&mut products) {
            for (nth, product) in products.iter_mut().enumerate() {
                let call = Call::post("/v1/products").bearer(token);
                let created = call.json(&shoe(&format!("SHOE-{nth}"))).send(&service.router).await;
                *product = path_of(&created.expect(201));
            }
        }
        Self { service, tokens, products }
    }

    /// Uses `key`, which names the products that it creates.
    async fn send(&self, of: Use, key: &str) -> TestResponse {
        // The key of an item of a batch ends in its position; a client may choose such a key as well.
        let (path, key, body) = match of.route {
            "post /v1/products" => {
                let sku = format!("{key}-one-{}", of.body);
                ("/v1/products".to_owned(), format!("{key}#0"), shoe(&sku))
            }
            "post /v1/products/batch" => {
                let sku = format!("{key}-batch-{}", of.body);
                ("/v1/products/batch".to_owned(), key.to_owned(), json!({"items": [shoe(&sku)]}))
            }
            "post /v1/products/{id}/stock/adjustments" => {
                let product = &self.products[of.seller][usize::from(of.body == 2)];
                let delta = if of.body == 1 { 2 } else { 1 };
                let body = json!({"delta": delta, "reason": "found"});
                (format!("{product}/stock/adjustments"), format!("{key}#0"), body)
            }
            other => panic!("add a request of {other}"),
        };
        let call = Call::post(&path).bearer(&self.tokens[of.seller]);
        let call = call.header("idempotency-key", &key).json(&body);
        call.send(&self.service.router).await
    }

    /// What every seller has: products and pieces on hand.
    async fn state(&self) -> Vec<(String, i64, i64)> {
        sqlx::query_as(
            "select seller_id::text, count(*), sum(on_hand)::bigint from inventory.products p
             join inventory.stock s on s.product_id = p.id group by 1 order by 1",
        )
        .fetch_all(&self.service.pool)
        .await
        .unwrap()
    }
}

/// How a response answers, and what it returns.
fn answer(route: &str, response: &TestResponse) -> (Answer, Value) {
    let item = &response.json["results"][0];
    let (status, code, replayed, result) = if route.ends_with("/batch") {
        let status = u16::try_from(item["status"].as_u64().unwrap()).unwrap();
        let code = item["problem"]["code"].as_str().unwrap_or_default();
        (status, code, item["replayed"] == true, &item["product"])
    } else {
        let replayed = response.header("idempotent-replayed") == "true";
        (response.status.as_u16(), response.code(), replayed, &response.json)
    };
    match (status, code) {
        (200 | 201, _) if replayed => (Answer::Replayed, result.clone()),
        (200 | 201, _) => (Answer::Fresh, result.clone()),
        (422, "idempotency_key_reused") => (Answer::Refused, Value::Null),
        _ => panic!("{route}: {}", response.text),
    }
}

#[test]
fn every_route_that_takes_a_key_has_a_row() {
    let api = serde_json::to_value(inventory::routes().to_openapi()).unwrap();
    let mut taking = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            if parameters.into_iter().any(|parameter| parameter["name"] == "Idempotency-Key") {
                taking.push(format!("{method} {path}"));
            }
        }
    }
    taking.sort();
    assert_eq!(taking, ROUTES.map(|(route, _)| route));
}

#[tokio::test]
async fn key_stands_for_one_seller_route_and_body() {
    let sellers = Sellers::new().await;
    let mut uses = Vec::new();
    for (route, bodies) in ROUTES {
        for seller in [0, 1] {
            uses.extend((0..bodies).map(|body| Use { route, seller, body }));
        }
    }
    for (nth, first) in uses.iter().enumerate() {
        for (mth, second) in uses.iter().enumerate() {
            let key = format!("K-{nth}-{mth}");
            let what = format!("{first:?}, then {second:?}");
            let expected = if (first.route, first.seller) != (second.route, second.seller) {
                Answer::Fresh
            } else if first.body == second.body {
                Answer::Replayed
            } else {
                Answer::Refused
            };
            let response = sellers.send(*first, &key).await;
            let (fresh, original) = answer(first.route, &response);
            assert_eq!(fresh, Answer::Fresh, "{what}");
            let before = sellers.state().await;
            let response = sellers.send(*second, &key).await;
            let (answered, result) = answer(second.route, &response);
            assert_eq!(answered, expected, "{what}");
            match expected {
                Answer::Replayed => assert_eq!(result, original, "{what}"),
                Answer::Fresh => assert_ne!(sellers.state().await, before, "{what}"),
                Answer::Refused => {}
            }
            if expected != Answer::Fresh {
                assert_eq!(sellers.state().await, before, "{what}");
            }
        }
    }
}
