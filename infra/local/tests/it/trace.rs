//! `vitrina trace` and `GET /v1/admin/trace/{id}`: the hops of a change on its way to the listing.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use testkit::eventually;

use crate::openapi::send;
use crate::process::{Process, vitrina};
use crate::requests::{product, text};

const HOPS: [&str; 5] = ["requested", "committed", "published", "received", "projected"];
const GAPS: [&str; 4] = ["writing", "in the outbox", "in the queue", "projecting"];

/// The ids of a created product and of the request that created it.
struct CreatedProduct {
    product: String,
    request: String,
}

async fn create(process: &Process, http: &reqwest::Client) -> CreatedProduct {
    let token = process.token(http, "seller").await;
    let request = http.post(format!("{}/v1/products", process.url)).bearer_auth(token);
    let response = send(request.json(&product("A"))).await;
    let request = response.headers["x-request-id"].to_str().unwrap().to_owned();
    CreatedProduct { product: text(&response, "id").to_owned(), request }
}

async fn rename(process: &Process, http: &reqwest::Client, id: &str, times: u32) {
    let token = process.token(http, "seller").await;
    for n in 0..times {
        let request = http
            .patch(format!("{}/v1/products/{id}", process.url))
            .bearer_auth(&token)
            .header("if-match", "*")
            .json(&json!({"name": format!("Renamed {n}")}));
        assert_eq!(send(request).await.status, 200);
    }
}

async fn trace(process: &Process, http: &reqwest::Client, id: &str) -> Value {
    let operator = process.token(http, "operator").await;
    let request = http.get(format!("{}/v1/admin/trace/{id}", process.url));
    let response = send(request.bearer_auth(operator)).await;
    assert_eq!(response.status, 200, "{}", response.text);
    response.json
}

/// Waits until the last change is in this state and returns the trace.
async fn trace_in(process: &Process, http: &reqwest::Client, id: &str, state: &str) -> Value {
    eventually(&format!("the change to be {state:?}"), async || {
        let trace = trace(process, http, id).await;
        let last = trace["changes"].as_array().unwrap().last().unwrap();
        last["state"].as_str().unwrap().starts_with(state).then_some(trace)
    })
    .await
}

/// The output of `vitrina trace`.
async fn command_output(data: &Path, arguments: &[&str]) -> String {
    let output = vitrina(data).arg("trace").args(arguments).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn names<'a>(change: &'a Value, of: &str) -> Vec<&'a str> {
    change[of].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// Checks that hops are in order of time, and that each gap is the time between two hops.
fn check_times(change: &Value) {
    let times: Vec<DateTime<Utc>> = change["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| hop["at"].as_str().unwrap().parse().unwrap())
        .collect();
    let gaps = change["gaps"].as_array().unwrap();
    assert_eq!(gaps.len() + 1, times.len(), "{change:#}");
    for (pair, gap) in times.windows(2).zip(gaps) {
        let between = (pair[1] - pair[0]).num_microseconds().unwrap();
        assert!(between >= 0, "{change:#}");
        let reported = format!("{:.3}", gap["milliseconds"].as_f64().unwrap());
        assert_eq!(reported, format!("{}.{:03}", between / 1000, between % 1000), "{change:#}");
    }
}

/// Checks the text against the JSON: one line a hop, with the gap before it.
fn check_text(text: &str, change: &Value) {
    assert!(text.contains(change["state"].as_str().unwrap()), "{text}");
    for id in ["product_id", "event_id", "request_id"] {
        assert!(text.contains(change[id].as_str().unwrap()), "{id} in {text}");
    }
    let hops = names(change, "hops");
    let lines: Vec<&str> =
        text.lines().skip_while(|line| !line.contains("  event ")).skip(1).collect();
    assert!(lines.len() >= hops.len(), "{text}");
    for (nth, (line, hop)) in lines.iter().zip(hops).enumerate() {
        assert_eq!(line.split_whitespace().next(), Some(hop), "{text}");
        let at: DateTime<Utc> = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let reported: DateTime<Utc> = change["hops"][nth]["at"].as_str().unwrap().parse().unwrap();
        assert_eq!(at, reported, "{text}");
        if let Some(before) = nth.checked_sub(1) {
            let gap = change["gaps"][before]["name"].as_str().unwrap();
            assert!(line.ends_with(&format!(" ms {gap}")), "{text}");
        }
    }
}

#[tokio::test]
async fn trace_is_the_same_by_product_request_or_event() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let http = reqwest::Client::new();
    let created = create(&process, &http).await;
    let by_product = trace_in(&process, &http, &created.product, "in the listing").await;
    assert_eq!(by_product["cut"], json!(false));
    let change = &by_product["changes"][0];
    assert_eq!(change["product_id"], json!(created.product));
    assert_eq!(change["request_id"], json!(created.request));
    assert_eq!((&change["version"], &change["change"]), (&json!(1), &json!("created")));
    assert_eq!(change["complete"], json!(true));
    assert_eq!(names(change, "hops"), HOPS);
    assert_eq!(names(change, "gaps"), GAPS);
    check_times(change);
    let event = change["event_id"].as_str().unwrap();
    let ids = [created.product.as_str(), &created.request, event];
    for id in ids {
        assert_eq!(trace(&process, &http, id).await, by_product, "by {id}");
        let json: Value =
            serde_json::from_str(&command_output(data.path(), &[id, "-o", "json"]).await).unwrap();
        assert_eq!(json, by_product, "by {id}");
        check_text(&command_output(data.path(), &[id]).await, change);
    }
    process.terminate().await;

    let process = Process::start(data.path()).await;
    for id in ids {
        assert_eq!(trace(&process, &http, id).await, by_product, "by {id} after a restart");
    }
    let unknown_id = "0190a000-0000-7000-8000-000000000000";
    let output = vitrina(data.path()).args(["trace", unknown_id]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(unknown_id), "{output:?}");
    process.terminate().await;
}

#[tokio::test]
async fn stuck_change_is_traced_to_its_last_hop_and_resumes() {
    let data = tempfile::tempdir().unwrap();
    let http = reqwest::Client::new();
    let without_relay = [("VITRINA_ROLES", "inventory,catalog,projector,identity")];
    let process = Process::start_with(data.path(), &without_relay).await;
    let created = create(&process, &http).await;
    let stuck = trace(&process, &http, &created.product).await;
    process.kill().await;
    let process = Process::start_with(data.path(), &without_relay).await;
    let change = &stuck["changes"][0];
    assert_eq!(change["state"], json!("in the outbox"));
    assert_eq!(change["complete"], json!(false));
    assert_eq!(names(change, "hops"), HOPS[..2]);
    assert_eq!(names(change, "gaps"), GAPS[..1]);
    check_times(change);
    let event = change["event_id"].as_str().unwrap();
    let ids = [created.product.as_str(), &created.request, event];
    for id in ids {
        assert_eq!(trace(&process, &http, id).await, stuck, "by {id} after a restart");
        check_text(&command_output(data.path(), &[id]).await, change);
    }
    process.terminate().await;

    let without_projector = [("VITRINA_ROLES", "inventory,relay,catalog,identity")];
    let process = Process::start_with(data.path(), &without_projector).await;
    let queued = trace_in(&process, &http, &created.product, "in the queue").await;
    process.kill().await;
    let process = Process::start_with(data.path(), &without_projector).await;
    let change = &queued["changes"][0];
    assert_eq!(change["state"], json!("in the queue"));
    assert_eq!(change["complete"], json!(false));
    assert_eq!(names(change, "hops"), HOPS[..3]);
    assert_eq!(names(change, "gaps"), GAPS[..2]);
    check_times(change);
    for id in ids {
        assert_eq!(trace(&process, &http, id).await, queued, "by {id} after a restart");
        check_text(&command_output(data.path(), &[id]).await, change);
    }
    process.terminate().await;

    let process = Process::start(data.path()).await;
    let arrived = trace_in(&process, &http, event, "in the listing").await;
    assert_eq!(names(&arrived["changes"][0], "hops"), HOPS);
    assert_eq!(arrived["changes"][0]["event_id"], json!(event));
    process.terminate().await;
}

#[tokio::test]
async fn truncated_trace_is_marked_and_keeps_the_latest_changes() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let http = reqwest::Client::new();
    let created = create(&process, &http).await;
    let hint = "only the latest 50 changes";
    rename(&process, &http, &created.product, 49).await;
    let whole = trace(&process, &http, &created.product).await;
    assert_eq!(whole["cut"], json!(false));
    assert_eq!(whole["changes"].as_array().unwrap().len(), 50);
    assert!(!command_output(data.path(), &[&created.product]).await.contains(hint));
    rename(&process, &http, &created.product, 1).await;
    let cut = trace(&process, &http, &created.product).await;
    assert_eq!(cut["cut"], json!(true));
    let versions: Vec<i64> = cut["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["version"].as_i64().unwrap())
        .collect();
    assert_eq!(versions, (2..=51).collect::<Vec<_>>(), "the latest changes, oldest first");
    assert!(command_output(data.path(), &[&created.product]).await.contains(hint));
    process.terminate().await;
}

#[tokio::test]
async fn trace_of_a_dead_letter_ends_with_the_hop_buried() {
    let data = tempfile::tempdir().unwrap();
    let http = reqwest::Client::new();
    let without_projector = [("VITRINA_ROLES", "inventory,relay,catalog,identity")];
    let process = Process::start_with(data.path(), &without_projector).await;
    let created = create(&process, &http).await;
    trace_in(&process, &http, &created.product, "in the queue").await;
    sqlx::query("update bus.messages set body = '{'")
        .execute(&mut process.database().await)
        .await
        .unwrap();
    process.terminate().await;

    let process = Process::start(data.path()).await;
    let dead = trace_in(&process, &http, &created.product, "dead letter ").await;
    let change = &dead["changes"][0];
    assert_eq!(change["complete"], json!(false));
    assert_eq!(names(change, "hops"), ["requested", "committed", "published", "buried"]);
    assert_eq!(
        names(change, "gaps"),
        ["writing", "in the outbox", "in the queue and its attempts"]
    );
    check_times(change);
    check_text(&command_output(data.path(), &[&created.request]).await, change);
    process.terminate().await;
}
