//! Authorisation of every path and method of the edition, tried with every kind of caller.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use identity::keys::{Issuer, SigningKey};
use reqwest::{Method, RequestBuilder};
use shared::clock::Clock;
use shared::http::auth::Role;
use shared::id::{Ids, UserId};
use vitrina::edition::ISSUER;

use crate::openapi::{OPERATIONS, send};
use crate::requests::Requests;
use crate::sources::{production_files, production_text};

/// The callers of the matrix, in the order of [`Row`].
const CALLERS: [&str; 9] = [
    "no token",
    "a token signed with a foreign key",
    "an operator's claims with a seller's signature",
    "an expired token",
    "a token without a role",
    "a buyer",
    "the product's seller",
    "another seller",
    "an operator",
];

/// Allowed: a success, or a refusal only because the code from a mail is wrong.
const YES: u16 = 200;

/// Status for each of [`CALLERS`].
type Row = [u16; 9];

const PUBLIC: Row = [YES; 9];
const SELLERS: Row = [401, 401, 401, 401, 403, 403, YES, YES, 403];
const OWNER: Row = [401, 401, 401, 401, 403, 403, YES, 404, 403];
const OPERATORS: Row = [401, 401, 401, 401, 403, 403, 403, 403, YES];

const MATRIX: &[(&str, Row)] = &[
    ("GET /.well-known/jwks.json", PUBLIC),
    ("GET /.well-known/openid-configuration", PUBLIC),
    ("GET /docs", PUBLIC),
    ("GET /docs/problems", PUBLIC),
    ("GET /docs/problems/{code}", PUBLIC),
    ("GET /healthz", PUBLIC),
    ("GET /metrics", PUBLIC),
    ("GET /openapi.json", PUBLIC),
    ("GET /readyz", PUBLIC),
    ("GET /v1/admin/dead-letters", OPERATORS),
    ("POST /v1/admin/dead-letters/discard", OPERATORS),
    ("POST /v1/admin/dead-letters/redrive", OPERATORS),
    ("GET /v1/admin/dead-letters/{id}", OPERATORS),
    ("GET /v1/admin/outbox", OPERATORS),
    ("GET /v1/admin/queues", OPERATORS),
    ("GET /v1/admin/reconciliations", OPERATORS),
    ("POST /v1/admin/reconciliations", OPERATORS),
    ("GET /v1/admin/reconciliations/{id}", OPERATORS),
    ("GET /v1/admin/trace/{id}", OPERATORS),
    ("POST /v1/auth/activate", PUBLIC),
    ("POST /v1/auth/login", PUBLIC),
    ("POST /v1/auth/logout", PUBLIC),
    ("POST /v1/auth/password/forgot", PUBLIC),
    ("POST /v1/auth/password/reset", PUBLIC),
    ("POST /v1/auth/refresh", PUBLIC),
    ("POST /v1/auth/signup", PUBLIC),
    ("GET /v1/catalog/categories", PUBLIC),
    ("GET /v1/catalog/products", PUBLIC),
    ("GET /v1/catalog/products/{id}", PUBLIC),
    ("GET /v1/products", SELLERS),
    ("POST /v1/products", SELLERS),
    ("POST /v1/products/batch", SELLERS),
    ("GET /v1/products/{id}", OWNER),
    ("PATCH /v1/products/{id}", OWNER),
    ("DELETE /v1/products/{id}", OWNER),
    ("GET /v1/products/{id}/history", OWNER),
    ("POST /v1/products/{id}/restore", OWNER),
    ("GET /v1/products/{id}/stock", OWNER),
    ("PUT /v1/products/{id}/stock", OWNER),
    ("POST /v1/products/{id}/stock/adjustments", OWNER),
];

/// The role that a route requires.
pub(crate) fn role_of(route: &str) -> Role {
    let (_, row) = MATRIX.iter().find(|(name, _)| *name == route).expect("no row for this route");
    match *row {
        SELLERS | OWNER => Role::Seller,
        OPERATORS => Role::Operator,
        row => panic!("{route} requires no role, or one that this test does not know: {row:?}"),
    }
}

/// A path must refuse those of these methods that it is not described with.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Routes that the code serves and that the API description leaves out.
pub(crate) fn undescribed_routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for path in production_files() {
        let code = production_text(&std::fs::read_to_string(&path).unwrap());
        // These calls make a router serve what `routes!` does not describe.
        for call in
            [".nest(", ".nest_service(", ".route_service(", ".fallback(", ".fallback_service("]
        {
            assert!(
                !code.contains(call),
                "{} calls {call}..): extend this test with the routes that it serves",
                path.display()
            );
        }
        for call in [".route(\"", "SwaggerUi::new(\"", ".url(\""] {
            let found = code.split(call).skip(1).map(|rest| rest.split('"').next().unwrap());
            let found = found.filter(|path| path.starts_with('/'));
            routes.extend(found.map(|path| format!("GET {path}")));
        }
    }
    routes
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let mut routes = undescribed_routes();
    routes.extend(OPERATIONS.iter().map(crate::openapi::Operation::name));
    let rows: BTreeSet<String> = MATRIX.iter().map(|(route, _)| (*route).to_owned()).collect();
    let without_row: Vec<_> = routes.difference(&rows).collect();
    assert!(without_row.is_empty(), "add these routes to the matrix: {without_row:?}");
    let without_route: Vec<_> = rows.difference(&routes).collect();
    assert!(without_route.is_empty(), "rows without a route: {without_route:?}");
    assert_eq!(rows.len(), MATRIX.len(), "a route has two rows");
    assert!(undescribed_routes().len() >= 4, "the search for undescribed routes finds too few");
}

/// The tokens of [`CALLERS`], in order.
async fn tokens(requests: &Requests, data: &Path) -> [Option<String>; 9] {
    let issuer = |file: &Path| {
        let key = SigningKey::load_or_create(file).unwrap();
        Issuer::new(key, ISSUER, "vitrina", Ids::System)
    };
    let (own, forger) = (issuer(&data.join("identity.pk8")), issuer(&data.join("forged.pk8")));
    let all_roles = BTreeSet::from([Role::Buyer, Role::Seller, Role::Operator]);
    // Real time: the edition's clock, by which these tokens are valid or not for minutes.
    let now: DateTime<Utc> = Clock::System.now();
    let subject = UserId::from_u128(5);
    let forged = forger.issue(subject, &all_roles, now).unwrap();
    let expired = own.issue(subject, &all_roles, now - TimeDelta::minutes(16)).unwrap();
    let without_role = own.issue(subject, &BTreeSet::new(), now).unwrap();
    // The bad tokens differ from a good one in one way each, so a good one must be accepted.
    let good = own.issue(subject, &all_roles, now).unwrap();
    for path in ["/v1/products", "/v1/admin/outbox"] {
        let response = send(requests.to(Method::GET, path).bearer_auth(&good)).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let (seller, operator) = (requests.seller.clone(), requests.operator.clone());
    let claims = operator.rsplit_once('.').unwrap().0;
    let tampered = format!("{claims}.{}", seller.rsplit_once('.').unwrap().1);
    // These two signed up, and the others are demo users: both kinds may do the same.
    let buyer = requests.process.new_user(&requests.http, "buyer@shop.example", "buyer").await;
    let other = requests.process.new_seller(&requests.http, "other@shop.example").await;
    [
        None,
        Some(forged),
        Some(tampered),
        Some(expired),
        Some(without_role),
        Some(buyer),
        Some(seller),
        Some(other),
        Some(operator),
    ]
}

fn with_token(request: RequestBuilder, token: Option<&String>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[tokio::test]
async fn each_caller_may_do_exactly_what_the_matrix_says() {
    let data = tempfile::tempdir().unwrap();
    let mut requests = Requests::start(data.path()).await;
    let tokens = tokens(&requests, data.path()).await;
    let mut wrong = Vec::new();
    for (route, expected) in MATRIX {
        let operation = OPERATIONS.iter().find(|operation| operation.name() == *route);
        // An allowed caller may change the product, so the owner comes last.
        for nth in [0, 1, 2, 3, 4, 5, 7, 8, 6] {
            if nth == 0 || *expected == PUBLIC {
                requests.renew().await;
            }
            let path = route.trim_start_matches("GET ").replace("{code}", "not_found");
            let request = operation.map_or_else(
                || requests.to(Method::GET, &path),
                |operation| requests.valid(operation),
            );
            let response = send(with_token(request, tokens[nth].as_ref())).await;
            let allowed = response.status < 300 || response.json["code"] == "invalid_code";
            let outcome = if allowed { YES } else { response.status };
            if outcome != expected[nth] {
                wrong.push(format!("{route}: {} gets {outcome}: {}", CALLERS[nth], response.text));
            }
            let is_other_seller = *expected == SELLERS && nth == 7;
            assert!(
                !(is_other_seller && response.text.contains(&requests.product)),
                "{route}: {response:?}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let rows: BTreeSet<&str> = MATRIX.iter().map(|(route, _)| *route).collect();
    let paths: BTreeSet<&str> = rows.iter().map(|row| row.split_once(' ').unwrap().1).collect();
    for path in paths {
        let concrete = path.replace("{id}", &requests.product).replace("{code}", "not_found");
        for method in METHODS.into_iter().filter(|m| !rows.contains(format!("{m} {path}").as_str()))
        {
            for nth in [0, 6, 8] {
                let request = requests.to(method.parse().unwrap(), &concrete);
                let response = send(with_token(request, tokens[nth].as_ref())).await;
                assert_eq!(response.status, 405, "{method} {path}: {response:?}");
            }
        }
    }
    for path in
        ["/", "/v1", "/v1/admin", "/v1/admin/users", "/admin", "/v2/products", "/v1/products/"]
    {
        for token in &tokens {
            let response = send(with_token(requests.to(Method::GET, path), token.as_ref())).await;
            assert_eq!(response.status, 404, "{path}: {response:?}");
        }
    }
    requests.process.terminate().await;
}
