use std::num::NonZeroU32;

use futures::future::join_all;
use serde_json::{Value, json};
use vitrina::edition::parts::Parts;

use crate::TestEdition;

#[tokio::test(flavor = "multi_thread")]
async fn load_sends_each_request_and_reports_responses_and_lag() {
    let edition = TestEdition::start().await;
    let arguments = ["load", "--rate", "50", "--seconds", "2", "--creates", "20"];
    let report =
        edition.run(&[&arguments[..], &["--output", "json"]].concat()).await.expect(0).json();
    assert_eq!(
        (&report["creates"]["answered"], &report["creates"]["refused"]),
        (&20.into(), &0.into())
    );
    assert_eq!(
        (&report["reads"]["answered"], &report["reads"]["refused"]),
        (&80.into(), &0.into())
    );
    let lag = &report["commit_to_visible"];
    assert_eq!(lag["looked_for"], 20);
    let (p50, p99) = (lag["p50_ms"].as_f64().unwrap(), lag["p99_ms"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{lag}");
    assert_eq!(edition.catalogue(20).await.len(), 20);

    let table = edition.run(&arguments).await.expect(0).stdout;
    for line in ["creates", "reads", "commit to visible"] {
        assert!(table.contains(line), "{table}");
    }
    edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edition_limits_each_client_and_refused_load_fails() {
    let edition = TestEdition::start_limited(Parts::all(), NonZeroU32::new(20)).await;
    let token = edition.run(&["token", "seller"]).await.expect(0).stdout;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", edition.running.url);
    // Each log-in counts as twenty requests, because it hashes a password.
    let login = json!({"email": "none@example.com", "password": "a wrong password"});
    let logins = (0..10).map(|_| http.post(url("/v1/auth/login")).json(&login).send());
    let mut refused = 0;
    for response in join_all(logins).await {
        let response = response.unwrap();
        if response.status() == 429 {
            refused += 1;
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["code"], "rate_limited", "{problem}");
        }
    }
    assert!(refused > 0, "ten log-ins at once");
    // A client with a token has a limit of its own.
    let reads = (0..10).map(|_| http.get(url("/v1/products")).bearer_auth(token.trim()).send());
    for response in join_all(reads).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    let load = ["load", "--rate", "400", "--seconds", "1", "-o", "json"];
    let result = edition.run(&load).await.expect(1);
    let report = result.json();
    let refused = |kind: &str| report[kind]["refused"].as_u64().unwrap();
    assert!(refused("creates") + refused("reads") > 0, "{report:#}");
    edition.stop().await;
}
