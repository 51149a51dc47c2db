//! `infra/aws/check-stage`, the script that checks a deployed stage, run against a local edition.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use testkit::serve;
use tokio::process::Command;

use crate::{CommandResult, TestEdition};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/check-stage")
}

async fn check(url: &str, token: &str) -> CommandResult {
    let output = Command::new(script())
        .env("VITRINA_URL", url)
        .env("VITRINA_SELLER_TOKEN", token)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    CommandResult::from(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_stage_passes_a_healthy_stage_and_fails_others() {
    let edition = TestEdition::start().await;
    let token = edition.run(&["token", "seller"]).await.expect(0).stdout;
    let result = check(&edition.running.url, token.trim()).await.expect(0);
    assert!(result.stdout.contains("holds what it promises"), "{result:#?}");
    // The script deletes the products that it creates.
    assert!(edition.catalogue(0).await.is_empty());

    let buyer = edition.run(&["token", "buyer"]).await.expect(0).stdout;
    let result = check(&edition.running.url, buyer.trim()).await.expect(1);
    assert!(result.stderr.contains("a create: returned 403 instead of 201"), "{result:#?}");
    let url = edition.running.url.clone();
    edition.stop().await;
    let result = check(&url, token.trim()).await.expect(1);
    assert!(result.stderr.contains("no response"), "{result:#?}");
}

/// A stage that does everything as it should, except for one step.
#[derive(Default)]
struct Stage {
    wrong: &'static str,
    state: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    creates: u32,
    is_changed: bool,
    deletes: u32,
}

/// Steps that a stage may get wrong, and what the script says of each.
const STEPS: [(&str, &str); 8] = [
    ("creates twice", "one idempotency key created two products"),
    ("shows another price", "the price is not what was written"),
    ("accepts an old version", "the same change again: returned 200 instead of 412"),
    ("shows the old price", "the changed price is not visible"),
    ("lists nothing", "the product is not in the list"),
    ("keeps the product", "the deleted product is still visible"),
    ("needs no token", "a create without a token: returned 201 instead of 401"),
    ("hides the product", "the product is not visible after 0 s: 503"),
];

async fn stage(
    State(stage): State<Arc<Stage>>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut seen = stage.state.lock().unwrap();
    let is = |step: &str| stage.wrong == step;
    let product = |amount: i64| axum::Json(json!({"id": "p-1", "price": {"amount": amount}}));
    match (method.as_str(), uri.path()) {
        ("POST", "/v1/products") if headers.contains_key("authorization") => {
            seen.creates += 1;
            let id = if is("creates twice") { seen.creates } else { 1 };
            (StatusCode::CREATED, axum::Json(json!({"id": format!("p-{id}")}))).into_response()
        }
        ("POST", "/v1/products") if is("needs no token") => StatusCode::CREATED.into_response(),
        ("POST", "/v1/products") => StatusCode::UNAUTHORIZED.into_response(),
        ("PATCH", "/v1/products/p-1") => {
            let was_changed = std::mem::replace(&mut seen.is_changed, true);
            if was_changed && !is("accepts an old version") {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            product(90).into_response()
        }
        ("DELETE", "/v1/products/p-1" | "/v1/products/p-2") => {
            seen.deletes += 1;
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET", "/v1/catalog/products") => {
            assert!(query.unwrap().contains("currency=BRL"));
            let data = if is("lists nothing") { json!([]) } else { json!([{"id": "p-1"}]) };
            axum::Json(json!({"data": data})).into_response()
        }
        ("GET", "/v1/catalog/products/p-1") => {
            if is("hides the product") {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            if seen.deletes > 0 && !is("keeps the product") {
                return StatusCode::NOT_FOUND.into_response();
            }
            let first = if is("shows another price") { 99 } else { 100 };
            let is_old = !seen.is_changed || is("shows the old price");
            product(if is_old { first } else { 90 }).into_response()
        }
        other => panic!("{other:?}"),
    }
}

async fn start(wrong: &'static str) -> (String, Arc<Stage>) {
    let state = Arc::new(Stage { wrong, ..Stage::default() });
    let router = Router::new().fallback(stage).with_state(Arc::clone(&state));
    (serve(router).await, state)
}

/// The AWS CLI as the script uses it, as a function of its shell. It logs its arguments.
const AWS: &str = r#"() {
echo "$*" >> "$LOG"
case "$*" in
  *"'ApiUrl'"*) echo "$API" ;;
  *"'UserPoolId'"*) echo pool-7 ;;
  *"'UserPoolClientId'"*) echo client-7 ;;
  *DeadLetterQueueUrl*) printf 'https://sqs/one\thttps://sqs/two\n' ;;
  *initiate-auth*) echo a-token ;;
  *"--queue-url https://sqs/two"*) echo "$DEAD" ;;
  *"--queue-url https://sqs/one"*) echo 0 ;;
esac
}"#;

/// Checks the stage `test` at `url`, in one of whose queues are `dead` dead letters. Returns the arguments of
/// each call of the AWS CLI as well.
async fn check_in_account(url: &str, dead: &str) -> (CommandResult, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let output = Command::new(script())
        .arg("test")
        .env("BASH_FUNC_aws%%", AWS)
        .env("LOG", &log)
        .env("API", url)
        .env("DEAD", dead)
        .env("CHECK_PATIENCE", "0")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let calls = fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
    (CommandResult::from(output), calls)
}

#[tokio::test]
async fn stage_that_gets_a_step_wrong_fails_without_its_product() {
    for (wrong, message) in STEPS {
        let (url, stage) = start(wrong).await;
        let (result, calls) = check_in_account(&url, "0").await;
        let result = result.expect(1);
        assert!(result.stderr.contains(message), "{wrong}: {result:#?}");
        let seen = stage.state.lock().unwrap();
        let products = match wrong {
            "needs no token" => 0,
            "creates twice" => 2,
            _ => 1,
        };
        assert_eq!(seen.deletes, products, "{wrong}");
        let last = calls.last().unwrap();
        assert!(last.starts_with("cognito-idp admin-delete-user"), "{wrong}: {calls:#?}");
    }
}

#[tokio::test]
async fn stage_with_dead_letters_fails() {
    for (dead, code) in [("0", 0), ("2", 1)] {
        let (url, stage) = start("").await;
        let (result, calls) = check_in_account(&url, dead).await;
        let result = result.expect(code);
        assert_eq!(stage.state.lock().unwrap().deletes, 1);
        let message = "there are 2 dead letters in https://sqs/two";
        assert_eq!(result.stderr.contains(message), code == 1, "{result:#?}");
        let named = |operation: &str| {
            let call = calls.iter().find(|call| call.contains(operation)).unwrap();
            let mut words = call.split(' ').skip_while(|word| *word != "--username");
            words.nth(1).unwrap().to_owned()
        };
        // The seller is temporary, and has no other role.
        assert_eq!(named("admin-create-user"), named("admin-delete-user"));
        assert_eq!(named("admin-create-user"), named("admin-add-user-to-group"));
        let groups: Vec<&String> = calls.iter().filter(|it| it.contains("group-name")).collect();
        assert!(groups.len() == 1 && groups[0].ends_with("--group-name seller"), "{groups:?}");
    }
}
