//! Every operation on a product, in every state that a product can be in. The states come from the type
//! and the operations from the API description: a new one of either fails until it has a row.

use std::time::Duration;

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::contract::event_type::EventType;
use shared::contract::product::Status;
use shared::id::ProductId;
use testkit::{Call, TestResponse, set_back};

use crate::{TestService, assert_problem, path_of, shoe};

const MINUTE: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    status: Status,
    is_deleted: bool,
    /// Whether its stock has a version of its own. The first travels with the product.
    is_counted: bool,
}

impl State {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for status in Status::ALL {
            for [is_deleted, is_counted] in
                [[false, false], [false, true], [true, false], [true, true]]
            {
                all.push(Self { status, is_deleted, is_counted });
            }
        }
        all
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Succeeds and changes nothing.
    Unchanged(u16),
    /// Makes a new version of the product, with this word in the journal.
    Product(u16, &'static str, EventType, State),
    /// Makes a new version of the stock.
    Stock(&'static str),
    NotFound,
}

/// A request, and its outcome in a state.
struct Case {
    what: String,
    path: &'static str,
    method: Method,
    body: Value,
    outcome: Box<dyn Fn(State) -> Outcome>,
}

fn case(
    what: impl Into<String>,
    (method, path): (Method, &'static str),
    body: Value,
    outcome: impl Fn(State) -> Outcome + 'static,
) -> Case {
    Case { what: what.into(), path, method, body, outcome: Box::new(outcome) }
}

/// The outcome for a product that is not deleted; a deleted one is not found.
fn if_present(outcome: impl Fn(State) -> Outcome + 'static) -> impl Fn(State) -> Outcome + 'static {
    move |state| if state.is_deleted { Outcome::NotFound } else { outcome(state) }
}

/// The cases of an operation.
fn cases(operation: &str) -> Vec<Case> {
    use Outcome::{Product, Stock, Unchanged};
    let none = Value::Null;
    let read =
        |path| vec![case("read", (Method::GET, path), Value::Null, if_present(|_| Unchanged(200)))];
    match operation {
        "get /v1/products/{id}" => read(""),
        "get /v1/products/{id}/stock" => read("/stock"),
        // What a deleted product was stays readable.
        "get /v1/products/{id}/history" => {
            vec![case("read", (Method::GET, "/history"), none, |_| Unchanged(200))]
        }
        "patch /v1/products/{id}" => {
            let patch = || (Method::PATCH, "");
            let updated = |state| Product(200, "updated", EventType::ProductUpdated, state);
            let mut cases = vec![
                case("rename", patch(), json!({"name": "Other"}), if_present(updated)),
                case("empty", patch(), json!({}), if_present(|_| Unchanged(200))),
            ];
            for status in Status::ALL {
                let outcome = move |state: State| {
                    if state.status == status {
                        Unchanged(200)
                    } else {
                        updated(State { status, ..state })
                    }
                };
                let what = format!("make it {}", status.as_str());
                cases.push(case(what, patch(), json!({"status": status}), if_present(outcome)));
            }
            cases
        }
        "delete /v1/products/{id}" => {
            let deleted = |state| {
                let state = State { is_deleted: true, ..state };
                Product(204, "deleted", EventType::ProductDeleted, state)
            };
            vec![case("delete", (Method::DELETE, ""), none, if_present(deleted))]
        }
        "post /v1/products/{id}/restore" => {
            let restored = |state: State| {
                if !state.is_deleted {
                    return Unchanged(200);
                }
                let state = State { is_deleted: false, ..state };
                Product(200, "restored", EventType::ProductUpdated, state)
            };
            vec![case("restore", (Method::POST, "/restore"), none, restored)]
        }
        "put /v1/products/{id}/stock" => {
            let put = || (Method::PUT, "/stock");
            vec![
                case("count", put(), json!({"on_hand": 9}), if_present(|_| Stock("set"))),
                case("same count", put(), json!({"on_hand": 5}), if_present(|_| Unchanged(200))),
            ]
        }
        "post /v1/products/{id}/stock/adjustments" => {
            let post = (Method::POST, "/stock/adjustments");
            let body = json!({"delta": -2, "reason": "broken"});
            vec![case("adjust", post, body, if_present(|_| Stock("adjusted")))]
        }
        other => panic!("add the cases of {other}"),
    }
}

/// The stored product and stock, and what was announced of them.
#[derive(Debug, PartialEq)]
struct Stored {
    state: State,
    versions: [i64; 2],
    /// When each of the two was changed.
    updated_at: [DateTime<Utc>; 2],
    /// Aggregate, version, change and type of each entry of the journal.
    journal: Vec<(String, i64, String, String)>,
    /// Entries that wait for the relay.
    outbox: Vec<(String, i64)>,
}

async fn stored(service: &TestService, id: ProductId) -> Stored {
    type Row = (String, bool, [i64; 2], [DateTime<Utc>; 2]);
    let (status, is_deleted, versions, updated_at): Row = sqlx::query_as(
        "select status, deleted_at is not null, array[p.version, s.version],
                array[p.updated_at, s.updated_at]
         from inventory.products p join inventory.stock s on s.product_id = p.id where p.id = $1",
    )
    .bind(id)
    .fetch_one(&service.pool)
    .await
    .unwrap();
    let journal = sqlx::query_as(
        "select aggregate, version, change, event->>'type' from inventory.journal
         where aggregate_id = $1 order by aggregate, version",
    );
    let outbox = sqlx::query_as(
        "select aggregate, version from inventory.outbox where aggregate_id = $1 order by 1, 2",
    );
    Stored {
        state: State { status: status.parse().unwrap(), is_deleted, is_counted: versions[1] > 1 },
        versions,
        updated_at,
        journal: journal.bind(id).fetch_all(&service.pool).await.unwrap(),
        outbox: outbox.bind(id).fetch_all(&service.pool).await.unwrap(),
    }
}

/// Brings a new product into a state.
async fn product_in(service: &TestService, state: State, sku: &str) -> (String, ProductId) {
    let created = service.create(sku).await;
    let path = path_of(&created);
    let any = |call: Call| call.header("if-match", "*");
    let status = json!({"status": state.status});
    service.send(any(Call::patch(&path)).json(&status)).await.expect(200);
    if state.is_counted {
        for on_hand in [6, 5] {
            let call = any(Call::put(&format!("{path}/stock")));
            service.send(call.json(&json!({"on_hand": on_hand}))).await.expect(200);
        }
    }
    if state.is_deleted {
        service.send(any(Call::delete(&path))).await.expect(204);
    }
    (path, created.json["id"].as_str().unwrap().parse().unwrap())
}

/// A request at `now` to a product as it was `before`, and its response.
struct Done {
    before: Stored,
    outcome: Outcome,
    now: DateTime<Utc>,
    response: TestResponse,
}

fn check(done: Done, after: &Stored, what: &str) {
    let Done { before: mut expected, outcome, now, response } = done;
    // After a clock was set back, a later version is still not older.
    let later = |before: DateTime<Utc>| before.max(now);
    match outcome {
        Outcome::NotFound => {
            assert_problem(&response, 404);
            assert_eq!(response.code(), "not_found", "{what}");
        }
        Outcome::Unchanged(status) => assert_eq!(response.status, status, "{what}"),
        Outcome::Product(status, change, event, state) => {
            assert_eq!(response.status, status, "{what}: {}", response.text);
            let version = expected.versions[0] + 1;
            expected.state = state;
            expected.versions[0] = version;
            expected.updated_at[0] = later(expected.updated_at[0]);
            let entry = ("product".to_owned(), version, change.to_owned(), event.name().to_owned());
            expected.journal.push(entry);
            expected.outbox.push(("product".to_owned(), version));
            if change == "restored" {
                // A listing that was removed needs the stock as well.
                let announced_by = if state.is_counted { "stock" } else { "product" };
                expected.outbox.push((announced_by.to_owned(), expected.versions[1]));
            }
            if status == 200 {
                assert_eq!(response.json["status"], json!(state.status), "{what}");
                assert_eq!(response.header("etag"), format!("\"v{version}\""), "{what}");
            }
        }
        Outcome::Stock(change) => {
            assert_eq!(response.status, 200, "{what}: {}", response.text);
            let version = expected.versions[1] + 1;
            expected.versions[1] = version;
            expected.updated_at[1] = later(expected.updated_at[1]);
            expected.state.is_counted = true;
            let event = EventType::StockChanged.name().to_owned();
            expected.journal.push(("stock".to_owned(), version, change.to_owned(), event));
            expected.outbox.push(("stock".to_owned(), version));
            assert_eq!(response.header("etag"), format!("\"v{version}\""), "{what}");
        }
    }
    expected.journal.sort();
    expected.outbox.sort();
    assert_eq!(*after, expected, "{what}");
}

#[tokio::test]
async fn every_operation_does_in_every_state_what_its_row_says() {
    let service = TestService::new().await;
    let api = serde_json::to_value(inventory::routes().to_openapi()).unwrap();
    let mut tried = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        if !path.contains("{id}") {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            for case in cases(&format!("{method} {path}")) {
                for (state, is_set_back) in
                    State::all().into_iter().flat_map(|state| [(state, false), (state, true)])
                {
                    let what = format!(
                        "{method} {path}: {} when {state:?}, clock set back: {is_set_back}",
                        case.what
                    );
                    let (path, id) = product_in(&service, state, &format!("SKU-{tried}")).await;
                    let before = stored(&service, id).await;
                    assert_eq!(before.state, state, "{what}");
                    let call = Call::new(case.method.clone(), &format!("{path}{}", case.path));
                    let call = call.header("if-match", "*");
                    let call = if case.body.is_null() { call } else { call.json(&case.body) };
                    if is_set_back {
                        set_back(&service.clock, MINUTE);
                    } else {
                        service.clock.advance(MINUTE);
                    }
                    let (now, outcome) = (service.clock.now(), (case.outcome)(state));
                    let response = service.send(call).await;
                    let after = stored(&service, id).await;
                    check(Done { before, outcome, now, response }, &after, &what);
                    // The tokens do not outlive an hour of cases.
                    if is_set_back {
                        service.clock.advance(MINUTE);
                    } else {
                        set_back(&service.clock, MINUTE);
                    }
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 2 * 8 * 12, "{tried}");
}

#[tokio::test]
async fn product_can_be_created_in_every_status_but_archived() {
    let service = TestService::new().await;
    let described = serde_json::to_value(<Status as utoipa::PartialSchema>::schema()).unwrap();
    assert_eq!(described["enum"], json!(Status::ALL));
    assert_eq!(described["enum"], json!(Status::ALL.map(Status::as_str)));
    for status in Status::ALL {
        let name = status.as_str();
        let mut body = shoe(&format!("SKU-{name}"));
        body["status"] = json!(name);
        let single = service.send(Call::post("/v1/products").json(&body)).await;
        body["sku"] = json!(format!("BATCH-{name}"));
        let batch = Call::post("/v1/products/batch").json(&json!({"items": [body]}));
        let batch = service.send(batch).await.expect(200).json["results"][0].clone();
        match status {
            Status::Draft | Status::Active => {
                assert_eq!(single.expect(201).json["status"], name);
                assert_eq!(batch["product"]["status"], name);
            }
            Status::Archived => {
                let fault = json!([{
                    "pointer": "/status", "code": "invalid", "detail": "must be draft or active",
                }]);
                assert_eq!(single.expect(422).json["errors"], fault);
                assert_eq!(batch["problem"]["errors"], fault);
            }
        }
        let listed = service.send(Call::get(&format!("/v1/products?status={name}"))).await;
        let listed = listed.expect(200).json["data"].as_array().unwrap().len();
        assert_eq!(listed, if status == Status::Archived { 0 } else { 2 }, "{name}");
    }
}
