//! The cursor of every list at every other list. The lists come from the API description, so that a new
//! one is covered.

use reqwest::Method;
use serde_json::json;
use testkit::eventually;
use uuid::Uuid;

use crate::openapi::{ApiResponse, OPERATIONS, Operation, send};
use crate::requests::{Requests, product, text};

/// A list as one caller sees it.
struct List {
    name: String,
    path: String,
    token: Option<String>,
}

impl List {
    async fn page(&self, requests: &Requests, cursor: Option<&str>) -> ApiResponse {
        let request = requests.to(Method::GET, &self.path).query(&[("limit", "1")]);
        let request = request.query(&cursor.map(|cursor| [("cursor", cursor)]));
        send(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    async fn cursor(&self, requests: &Requests) -> String {
        let page = self.page(requests, None).await;
        assert_eq!(page.status, 200, "{}: {page:?}", self.name);
        let cursor = page.json["page"]["next_cursor"].as_str();
        cursor.unwrap_or_else(|| panic!("{} has only one item: {page:?}", self.name)).to_owned()
    }
}

/// Makes two items for every list, and returns the lists: those of a seller as two sellers see them, those
/// of a product for two products, and the catalogue in each scope, order and range.
async fn lists(requests: &mut Requests) -> Vec<List> {
    let other = requests.process.new_seller(&requests.http, "other@shop.example").await;
    let mut products = Vec::new();
    let mut sellers = Vec::new();
    for (token, category) in [(requests.seller.clone(), "shoes"), (other.clone(), "hats")] {
        for _ in 0..2 {
            let create = requests.to(Method::POST, "/v1/products").bearer_auth(&token);
            let created = send(create.json(&product(&requests.fresh()))).await;
            let id = text(&created, "id").to_owned();
            let change = requests.to(Method::PATCH, &format!("/v1/products/{id}"));
            let change = change.bearer_auth(&token).header("if-match", "*");
            let change = change.json(&json!({"name": "Other", "category": category}));
            assert_eq!(send(change).await.status, 200);
            sellers.push(text(&created, "seller_id").to_owned());
            products.push((token.clone(), id));
        }
    }
    // A second reconciliation.
    requests.renew().await;
    let mut database = requests.process.database().await;
    for id in [2_i64, 3] {
        sqlx::query(
            "insert into bus.dead_letters values
             ($1, 'catalog', $2, 'ProductUpdated', $2, '{}', 'planted', 5, now(), now())",
        )
        .bind(id)
        .bind(Uuid::from_u128(2))
        .execute(&mut database)
        .await
        .unwrap();
    }
    let mut lists = Vec::new();
    for operation in OPERATIONS.iter().filter(|operation| operation.takes_parameter("cursor")) {
        let list = |name: &str, path: &str, token: Option<&String>| List {
            name: format!("{operation:?} {name}"),
            path: path.to_owned(),
            token: token.cloned(),
        };
        let path = operation.path.as_str();
        match Operation::name(operation).as_str() {
            "GET /v1/products" => {
                lists.push(list("of a seller", path, Some(&requests.seller)));
                lists.push(list("of another seller", path, Some(&other)));
            }
            "GET /v1/products/{id}/history" => {
                for (token, id) in &products {
                    lists.push(list(id, &path.replace("{id}", id), Some(token)));
                }
            }
            "GET /v1/catalog/products" => {
                for query in [
                    String::new(),
                    "category=shoes".to_owned(),
                    "category=hats".to_owned(),
                    format!("seller={}", sellers[0]),
                    format!("seller={}", sellers[3]),
                    "sort=price".to_owned(),
                    "sort=-price".to_owned(),
                    "in_stock=true".to_owned(),
                    "sort=price&price_min=1".to_owned(),
                    "sort=price&price_min=2".to_owned(),
                    "sort=price&price_max=99999".to_owned(),
                ] {
                    lists.push(list(&query, &format!("{path}?{query}"), None));
                }
            }
            "GET /v1/admin/dead-letters" | "GET /v1/admin/reconciliations" => {
                lists.push(list("", path, Some(&requests.operator)));
            }
            other => panic!("make two items for {other}"),
        }
    }
    lists
}

#[tokio::test]
async fn cursor_of_a_list_is_refused_by_every_other_list() {
    let data = tempfile::tempdir().unwrap();
    let mut requests = Requests::start(data.path()).await;
    let lists = lists(&mut requests).await;
    // The catalogue gets its listings from the projector.
    eventually("four changed listings", async || {
        let listed = send(requests.to(Method::GET, "/v1/catalog/products")).await;
        let listed = listed.json["data"].as_array()?.iter();
        (listed.filter(|card| card["name"] == "Other").count() == 4).then_some(())
    })
    .await;
    for list in &lists {
        let cursor = list.cursor(&requests).await;
        let next = list.page(&requests, Some(&cursor)).await;
        assert_eq!(next.status, 200, "{}: {next:?}", list.name);
        for other in lists.iter().filter(|other| other.name != list.name) {
            let refused = other.page(&requests, Some(&cursor)).await;
            let what = format!("{} with the cursor of {}", other.name, list.name);
            assert_eq!(refused.json["code"], "invalid_cursor", "{what}: {refused:?}");
            assert_eq!(refused.status, 400, "{what}");
        }
    }
    requests.process.terminate().await;
}
