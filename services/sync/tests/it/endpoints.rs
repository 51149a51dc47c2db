//! What operators see.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use shared::auth::Role;
use sync::App;
use tower::ServiceExt as _;

use crate::world::{OPERATOR, World};

struct Api<'a> {
    world: &'a World,
    router: Router,
}

impl<'a> Api<'a> {
    fn new(world: &'a World) -> Self {
        let app = App::new(
            world.database.pool.clone(),
            &world.clock,
            &world.ids,
            world.tokens.verifier(),
            Arc::default(),
        );
        Self {
            world,
            router: sync::router(app),
        }
    }

    async fn call(
        &self,
        role: Role,
        method: &str,
        path: &str,
        body: Value,
    ) -> (StatusCode, HeaderMap, Value) {
        let token = self.world.tokens.token(OPERATOR, role);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (status, headers, body)
    }
}

const PATH: &str = "/v1/admin/reconciliations";

#[tokio::test]
async fn an_operator_asks_for_a_run_and_follows_it_to_its_end() {
    let (world, ids) = World::with_products(3).await;
    world.remove(ids[0]).await;
    let api = Api::new(&world);
    let (status, headers, body) = api
        .call(Role::Operator, "POST", PATH, json!({"deep": true}))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(
        (&body["state"], &body["deep"]),
        (&json!("pending"), &json!(true))
    );
    let location = headers[header::LOCATION].to_str().unwrap().to_owned();

    world.round().await;
    let (status, _, body) = api
        .call(Role::Operator, "GET", &location, Value::Null)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["state"], "finished");
    assert_eq!(
        body["progress"],
        json!({"buckets_done": 1024, "buckets": 1024})
    );
    assert_eq!(
        (&body["compared"], &body["missing"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(body["repaired"], 1);
    assert_eq!(body["requested_by"], json!(OPERATOR));
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let world = World::new().await;
    let api = Api::new(&world);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let (_, _, body) = api.call(Role::Operator, "POST", PATH, json!({})).await;
        asked.push(body["id"].clone());
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    asked.reverse();
    let (_, headers, first) = api
        .call(
            Role::Operator,
            "GET",
            &format!("{PATH}?limit=2"),
            Value::Null,
        )
        .await;
    assert!(headers.contains_key(header::LINK));
    let cursor = first["page"]["next_cursor"].as_str().unwrap();
    let path = format!("{PATH}?limit=2&cursor={cursor}");
    let (_, _, second) = api.call(Role::Operator, "GET", &path, Value::Null).await;
    assert_eq!(second["page"]["has_more"], false);
    let all: Vec<Value> = [first, second]
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|run| run["id"].clone())
        .collect();
    assert_eq!(all, asked);
}

#[tokio::test]
async fn nobody_but_an_operator_sees_or_asks_for_runs() {
    let world = World::new().await;
    let api = Api::new(&world);
    let one = format!("{PATH}/{OPERATOR}");
    for role in [Role::Buyer, Role::Seller] {
        for (method, path) in [("POST", PATH), ("GET", PATH), ("GET", &one)] {
            let (status, _, _) = api.call(role, method, path, json!({})).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{role:?} {method} {path}");
        }
    }
    let (status, _, _) = api.call(Role::Operator, "GET", &one, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _, _) = api
        .call(Role::Operator, "POST", PATH, json!({"depth": 3}))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
