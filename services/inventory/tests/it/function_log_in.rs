//! The log-in of functions to their database, with tokens of IAM.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use testkit::{FakeAws, serve};

use crate::TestService;
use crate::function::{bus, start};

/// A server for AWS credentials that has none, and the number of its requests.
async fn credentials() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let router = Router::new().fallback(move || {
        counting.fetch_add(1, Ordering::SeqCst);
        std::future::ready(StatusCode::BAD_REQUEST)
    });
    (serve(router).await + "/", asked)
}

#[tokio::test]
async fn function_asks_for_a_token_in_every_invocation() {
    let service = TestService::new().await;
    let aws: FakeAws = bus(None).await;
    for process_role in ["api", "relay"] {
        let (url, asked) = credentials().await;
        let more = [
            ("DATABASE_URL", "postgres://a@127.0.0.1:1/c"),
            ("VITRINA_DATABASE_AUTH", "iam"),
            ("VITRINA_DATABASE_CA", "system"),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        ];
        let mut function = start(&service, process_role, &aws.endpoint, &more).await;
        let mut before = 0;
        for nth in 0..4 {
            if process_role == "api" {
                let refused = function.request("GET", "/v1/products", &[], "").await;
                assert_eq!(refused.status, 401, "{}", refused.body);
            } else {
                function.invoke(json!({})).await.unwrap_err();
            }
            let count = asked.load(Ordering::SeqCst);
            // The start has asked before the first invocation.
            let has_asked = nth == 0 || count > before;
            assert!(has_asked, "{process_role} asked for none in invocation {nth}");
            before = count;
        }
    }
}
