//! Requests over connections that break, and to an edition that refuses them.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use testkit::{serve, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

type Requests = Arc<Mutex<Vec<String>>>;

fn lines(requests: &Requests) -> Vec<String> {
    requests.lock().unwrap().clone()
}

/// A client of a server that closes its first connection when it has read a request.
async fn breaking() -> (Client, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let line = String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
            let is_first = {
                let mut seen = seen.lock().unwrap();
                seen.push(line);
                seen.len() == 1
            };
            if !is_first {
                let response =
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnull";
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    });
    (client, requests)
}

#[tokio::test]
async fn request_that_was_cut_off_is_repeated_if_that_is_harmless() {
    type Case = (fn(&Client) -> Call<'_>, bool);
    let cases: [Case; 6] = [
        (|client| client.call(Method::GET, "/v1/products"), true),
        (|client| client.call(Method::POST, "/v1/products").key("one"), true),
        (|client| client.call(Method::POST, "/v1/auth/login").repeatable(), true),
        (|client| client.call(Method::POST, "/v1/auth/refresh").json(&json!({})), false),
        (|client| client.call(Method::PATCH, "/v1/products/7").if_match("*"), false),
        (|client| client.call(Method::DELETE, "/v1/products/7"), false),
    ];
    for (call, is_repeated) in cases {
        let (client, requests) = breaking().await;
        let response = within("the response", call(&client).send::<Value>()).await;
        let requests = lines(&requests);
        assert_eq!(response.is_ok(), is_repeated, "{requests:?}");
        assert_eq!(requests.len(), if is_repeated { 2 } else { 1 }, "{requests:?}");
        assert_eq!(requests.first(), requests.last());
    }
}

/// An edition that accepts one token.
#[derive(Default)]
struct Edition {
    requests: Requests,
    accepted: Mutex<String>,
    /// What it says of other tokens.
    refusal: StatusCode,
    is_session_ended: bool,
    lifetime: u64,
}

async fn respond(
    State(edition): State<Arc<Edition>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let tokens = |kind: &str, lifetime: u64| {
        let earlier = lines(&edition.requests);
        let nth = earlier.iter().filter(|request| request.starts_with(kind)).count();
        axum::Json(json!({
            "access_token": format!("{kind}-{nth}"), "refresh_token": format!("next-{kind}-{nth}"),
            "token_type": "Bearer", "expires_in": lifetime,
        }))
        .into_response()
    };
    let record = |request: String| edition.requests.lock().unwrap().push(request);
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    match uri.path() {
        "/v1/auth/login" => {
            record(format!("login {}", sent["email"].as_str().unwrap()));
            tokens("login", edition.lifetime)
        }
        "/v1/auth/refresh" => {
            record(format!("refresh {}", sent["refresh_token"].as_str().unwrap()));
            if edition.is_session_ended {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            tokens("refresh", 900)
        }
        _ => {
            record(text("authorization").to_owned());
            if text("authorization") == format!("Bearer {}", edition.accepted.lock().unwrap()) {
                return axum::Json(json!("done")).into_response();
            }
            edition.refusal.into_response()
        }
    }
}

async fn start(edition: Edition) -> (Client, Arc<Edition>) {
    let edition = Arc::new(edition);
    let router = Router::new().fallback(respond).with_state(Arc::clone(&edition));
    let client = Client::new(&serve(router).await).unwrap();
    (client, edition)
}

async fn log_in(client: &Client) -> Client {
    client.log_in("ana@example.com", &Secret::new("a long sentence".to_owned())).await.unwrap()
}

fn edition(accepted: &str, is_session_ended: bool) -> Edition {
    let refusal = StatusCode::UNAUTHORIZED;
    let accepted = Mutex::new(accepted.to_owned());
    Edition { accepted, refusal, is_session_ended, lifetime: 900, ..Edition::default() }
}

#[tokio::test]
async fn refused_token_of_a_session_is_replaced_once() {
    for (is_session_ended, accepted) in [(false, "refresh-1"), (true, "login-2")] {
        let (client, edition) = start(edition(accepted, is_session_ended)).await;
        let client = log_in(&client).await;
        let calls = [client.get::<Value>("/v1/products"), client.get("/v1/products")];
        for response in futures::future::join_all(calls).await {
            assert_eq!(response.unwrap(), "done");
        }
        let requests = lines(&edition.requests);
        let count = |line: &str| requests.iter().filter(|request| *request == line).count();
        assert_eq!(count("refresh next-login-1"), 1, "{requests:?}");
        let logins = if is_session_ended { 2 } else { 1 };
        assert_eq!(count("login ana@example.com"), logins, "{requests:?}");
        assert_eq!(count(&format!("Bearer {accepted}")), 2, "{requests:?}");
        // A further call needs nothing new.
        client.get::<Value>("/v1/products").await.unwrap();
        assert_eq!(lines(&edition.requests).len(), requests.len() + 1);
    }
}

#[tokio::test]
async fn token_at_its_end_is_replaced_before_its_use() {
    let edition = Edition { lifetime: 0, ..edition("refresh-1", false) };
    let (client, edition) = start(edition).await;
    log_in(&client).await.get::<Value>("/v1/products").await.unwrap();
    let expected = ["login ana@example.com", "refresh next-login-1", "Bearer refresh-1"];
    assert_eq!(lines(&edition.requests), expected);
}

#[tokio::test]
async fn request_that_no_new_token_can_save_is_sent_once() {
    let (client, seen) = start(edition("another", false)).await;
    let given = client.with_token(Secret::new("given".to_owned()));
    let refused = given.get::<Value>("/v1/products").await.unwrap_err();
    assert_eq!(refused.status(), Some(401));
    assert_eq!(lines(&seen.requests), ["Bearer given"]);

    let forbidding = Edition { refusal: StatusCode::FORBIDDEN, ..edition("another", false) };
    let (client, seen) = start(forbidding).await;
    let refused = log_in(&client).await.get::<Value>("/v1/products").await.unwrap_err();
    assert_eq!(refused.status(), Some(403));
    assert_eq!(lines(&seen.requests), ["login ana@example.com", "Bearer login-1"]);
}

#[tokio::test]
async fn each_part_of_a_request_is_sent() {
    let router = Router::new().fallback(async |uri: Uri, headers: HeaderMap, body: Bytes| {
        let names = ["idempotency-key", "if-match", "authorization", "content-type"];
        let headers = names.map(|name| headers.get(name).map_or("", |it| it.to_str().unwrap()));
        let body: Value = serde_json::from_slice(&body).unwrap();
        axum::Json(json!([uri.to_string(), headers, body])).into_response()
    });
    // A slash at the end of the address does no harm.
    let client = Client::new(&(serve(router).await + "/")).unwrap();
    let client = client.with_token(Secret::new("given".to_owned()));
    let call = client.call(Method::PUT, "/v1/products/7/stock").json(&json!({"on_hand": 5}));
    let call = call.query("sku", "A 1&2").query("limit", "3").key("k-1").if_match("\"v4\"");
    let sent: Value = call.send().await.unwrap();
    let headers = ["k-1", "\"v4\"", "Bearer given", "application/json"];
    assert_eq!(sent, json!(["/v1/products/7/stock?sku=A+1%262&limit=3", headers, {"on_hand": 5}]));
}

#[tokio::test]
async fn pause_that_a_response_names_is_in_seconds() {
    let router = Router::new()
        .fallback(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response());
    let client = Client::new(&serve(router).await).unwrap();
    let refused = client.with_retries_for(Duration::ZERO).get::<Value>("/").await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(7)));
    assert!(refused.to_string().ends_with("; retry in 7 s"), "{refused}");
}
