//! Every secured operation against every hostile token: the operations come from the API description and
//! the tokens from [`Tokens::hostile`], so that a new one of either is covered.

use std::path::Path;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::http::auth::Role;
use sqlx::PgConnection;
use testkit::Tokens;
use vitrina::edition::ISSUER;

use crate::authorisation::role_of;
use crate::openapi::{OPERATIONS, Operation, send};
use crate::requests::Requests;

/// What a request with a refused token must leave as it is. Background work changes none of it.
const STATE: [(&str, &str); 7] = [
    ("products", "select md5(string_agg(t::text, ',' order by t::text)) from inventory.products t"),
    ("stock", "select md5(string_agg(t::text, ',' order by t::text)) from inventory.stock t"),
    ("journal", "select md5(string_agg(t::text, ',' order by t::text)) from inventory.journal t"),
    ("idempotency", "select count(*)::text from inventory.idempotency"),
    ("the dead letter", "select count(*)::text from bus.dead_letters where id = 1"),
    ("audit of dead letters", "select count(*)::text from bus.dead_letter_audit"),
    ("requested runs", "select count(*)::text from sync.runs where requested_by is not null"),
];

async fn state(database: &mut PgConnection) -> Vec<(&'static str, Option<String>)> {
    let mut state = Vec::new();
    for (what, statement) in STATE {
        let found = sqlx::query_scalar(statement).fetch_one(&mut *database).await.unwrap();
        state.push((what, found));
    }
    state
}

/// The issuer of an edition, with its private key.
async fn issuer(requests: &Requests, data: &Path) -> Tokens {
    let pkcs8 = std::fs::read(data.join("identity.pk8")).unwrap();
    let keys = send(requests.to(reqwest::Method::GET, "/.well-known/jwks.json")).await;
    let keys = serde_json::from_value(keys.json).unwrap();
    Tokens::of_issuer(ISSUER, &pkcs8, keys, Clock::System)
}

/// Adds a token to a request.
type Carrier = fn(RequestBuilder, &str) -> RequestBuilder;

/// Ways to send a valid token in which it must not count.
const CARRIERS: [(&str, Carrier); 7] = [
    ("another scheme", |request, token| request.header("authorization", format!("Basic {token}"))),
    ("no scheme", |request, token| request.header("authorization", token)),
    ("a scheme that begins alike", |request, token| {
        request.header("authorization", format!("Bearers {token}"))
    }),
    ("two headers", |request, token| request.bearer_auth(token).bearer_auth(token)),
    ("the query", |request, token| request.query(&[("access_token", token)])),
    ("a cookie", |request, token| request.header("cookie", format!("access_token={token}"))),
    ("another header", |request, token| request.header("x-access-token", token)),
];

/// Sends a request that must be refused. Refusals are compared with their description elsewhere; here
/// there are too many.
async fn refuse(
    operation: &Operation,
    what: &str,
    request: RequestBuilder,
    (status, code): (u16, &str),
) {
    let response = request.send().await.unwrap();
    let headers = response.headers().clone();
    let received = response.status().as_u16();
    let problem: Value = response.json().await.unwrap_or_default();
    let code_of = problem["code"].as_str().unwrap_or_default();
    assert_eq!((received, code_of), (status, code), "{operation:?}: {what}: {problem}");
    let challenge = headers.get("www-authenticate").map(|value| value.to_str().unwrap());
    let expected = if status == 401 { Some("Bearer") } else { None };
    assert_eq!(challenge, expected, "{operation:?}: {what}");
    for header in ["etag", "link", "location", "idempotent-replayed"] {
        assert!(!headers.contains_key(header), "{operation:?}: {what}: {header}");
    }
}

const UNAUTHENTICATED: (u16, &str) = (401, "unauthenticated");
const FORBIDDEN: (u16, &str) = (403, "forbidden");

#[tokio::test]
async fn every_secured_operation_refuses_every_hostile_token() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("VITRINA_RATE_LIMIT", "0")];
    let mut requests = Requests::start_with(data.path(), &settings).await;
    let tokens = issuer(&requests, data.path()).await;
    let mut tried = 0;
    for operation in OPERATIONS.iter().filter(|operation| operation.is_secured()) {
        requests.renew().await;
        let role = role_of(&operation.name());
        let own = match role {
            Role::Buyer => panic!("add a buyer's token for {operation:?}"),
            Role::Seller => requests.seller.clone(),
            Role::Operator => requests.operator.clone(),
        };
        let valid = || {
            let mut request = requests.valid(operation);
            if operation.takes_header("Idempotency-Key") {
                request = request.header("idempotency-key", "one key");
            }
            if operation.takes_header("If-None-Match") {
                request = request.header("if-none-match", "*");
            }
            request
        };
        let before = state(&mut requests.process.database().await).await;
        let mut refused = vec![("an opaque refresh token", requests.refresh_token.clone())];
        refused.extend(tokens.hostile(Tokens::subject(&own), &Role::ALL));
        for (what, token) in refused {
            refuse(operation, what, valid().bearer_auth(token), UNAUTHENTICATED).await;
            tried += 1;
        }
        for (what, carry) in CARRIERS {
            refuse(operation, what, carry(valid(), &own), UNAUTHENTICATED).await;
        }
        for (what, token) in tokens.without_role(Tokens::subject(&own), role) {
            refuse(operation, what, valid().bearer_auth(token), FORBIDDEN).await;
        }
        assert_eq!(state(&mut requests.process.database().await).await, before, "{operation:?}");
        // The tokens differ from a valid one in one way each, so a valid one must be accepted.
        let both = json!({"sub": Tokens::subject(&own), "roles": [role, "admin", Role::Buyer]});
        let response = send(requests.valid(operation).bearer_auth(tokens.with_claims(both))).await;
        assert!(response.status < 400, "{operation:?}: {response:?}");
    }
    assert!(tried >= 20 * 40, "{tried}");
    requests.process.terminate().await;
}
