//! The service's program as a Lambda function.

use serde_json::{Value, json};
use testkit::{FakeAws, FakeResponse, Function, FunctionResponse, eventually, serve, within};
use uuid::Uuid;

use crate::{TestService, shoe};

const PROGRAM: &str = env!("CARGO_BIN_EXE_inventory");

/// A bus that rejects every entry with `code`, or accepts every entry without one.
pub(crate) async fn bus(code: Option<&'static str>) -> FakeAws {
    FakeAws::start(move |_, sent| {
        let entries = sent["Entries"].as_array().cloned().unwrap_or_default();
        let entry = match code {
            None => json!({"EventId": Uuid::nil()}),
            Some(code) => json!({"ErrorCode": code, "ErrorMessage": "planted"}),
        };
        let failed = if code.is_some() { entries.len() } else { 0 };
        let entries = vec![entry; entries.len()];
        FakeResponse::Success(json!({"FailedEntryCount": failed, "Entries": entries}))
    })
    .await
}

/// Starts a function with this process role over the database of `service`, with AWS at `endpoint`.
pub(crate) async fn start(
    service: &TestService,
    process_role: &str,
    endpoint: &str,
    more: &[(&str, &str)],
) -> Function {
    let auth = service.tokens.settings().await;
    let auth = auth.iter().map(|(name, value)| (*name, value.as_str()));
    let mut settings: Vec<(&str, &str)> = auth.collect();
    settings.extend([
        ("VITRINA_ROLE", process_role),
        ("DATABASE_URL", service.url()),
        ("VITRINA_EVENT_BUS", "shop"),
        ("AWS_ENDPOINT_URL", endpoint),
    ]);
    settings.extend(more);
    Function::start(PROGRAM, &settings).await
}

async fn create(service: &TestService, function: &mut Function, sku: &str) -> FunctionResponse {
    let bearer = format!("Bearer {}", service.seller);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    function.request("POST", "/v1/products", &headers, &shoe(sku).to_string()).await
}

#[tokio::test]
async fn event_is_published_before_the_response() {
    let (service, aws) = (TestService::new().await, bus(None).await);
    let mut function = start(&service, "api", &aws.endpoint, &[]).await;
    // The first request also opens connections, which may take longer than a response waits.
    let mut count = 0;
    let created = eventually("a response after its event", async || {
        count += 1;
        let created = create(&service, &mut function, &format!("SHÖE-{count}")).await;
        assert_eq!(created.status, 201, "{}", created.body);
        (service.count("outbox").await == 0).then_some(created)
    })
    .await;
    let sent = aws.calls();
    let entry = sent.last().unwrap().1["Entries"].as_array().unwrap().last().unwrap().clone();
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["data"]["product"]["sku"], format!("SHÖE-{count}"));
    assert_eq!(detail["requestid"], created.headers["x-request-id"]);

    let bearer = format!("Bearer {}", service.seller);
    let path = format!("/v1/products?sku=SH%C3%96E-{count}");
    let read = function.request("GET", &path, &[("authorization", &bearer)], "").await;
    assert_eq!(read.json()["data"][0], created.json());
    assert_eq!(aws.calls().len(), sent.len(), "a read publishes nothing");

    let refused = function.request("GET", "/v1/products", &[], "").await;
    assert_eq!((refused.status, &refused.headers["www-authenticate"]), (401, &json!("Bearer")));
    let unknown = function.request("GET", "/v1/{odd}/ü/%2F%00", &[], "").await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("not_found")));
    assert_eq!(unknown.headers["content-type"], "application/problem+json");

    assert_eq!(function.metric("http_requests"), vec![1; count + 3]);
    assert_eq!(function.metric("http_request_duration_ms").len(), count + 3);
    // A round that a response does not wait for may publish its events without counting them.
    let published = function.metric("events_published");
    assert!(published.last().unwrap().as_f64().unwrap() >= 1.0, "{published:?}");
    assert!(published.len() <= count, "{published:?}");
    assert_eq!(function.metric("service")[0], "inventory");
    let mut classes = vec!["2xx"; count + 1];
    classes.extend(["4xx"; 2]);
    assert_eq!(function.metric("status_class"), classes);
}

/// Invokes the relay until it succeeds, as its schedule does.
async fn drain(relay: &mut Function) {
    eventually("a successful invocation", async || {
        // The relay ignores the content of its event.
        relay.invoke(json!({"Records": [{"body": "anything"}]})).await.ok()
    })
    .await;
}

#[tokio::test]
async fn function_with_a_silent_bus_responds_and_loses_no_event() {
    let service = TestService::new().await;
    let silent = FakeAws::start(|_, _| FakeResponse::Never).await;
    let mut function = start(&service, "api", &silent.endpoint, &[]).await;
    for sku in ["SHOE-1", "SHOE-2"] {
        assert_eq!(create(&service, &mut function, sku).await.status, 201);
    }
    assert_eq!(service.count("outbox").await, 2);

    let taking = bus(None).await;
    let mut relay = start(&service, "relay", &taking.endpoint, &[]).await;
    drain(&mut relay).await;
    assert_eq!(service.count("outbox").await, 0);
    assert_eq!(taking.calls().last().unwrap().1["Entries"].as_array().unwrap().len(), 2);
    assert_eq!(relay.metric("outbox_oldest_pending_seconds").last(), Some(&json!(0.0)));
    assert_eq!(relay.metric("events_published"), [2.0]);
}

#[tokio::test]
async fn relay_fails_and_reports_age_when_events_stay_pending() {
    let (service, refusing) = (TestService::new().await, bus(Some("ThrottlingException")).await);
    service.create("SHOE-1").await;
    let mut relay = start(&service, "relay", &refusing.endpoint, &[]).await;
    let error = relay.invoke(json!({})).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("still pending"), "{error}");
    assert!(!refusing.calls().is_empty());
    assert!(!relay.metric("events_refused").is_empty());
    assert_eq!(relay.metric("outbox_pending").last(), Some(&json!(1.0)));
    assert!(relay.log().contains("ThrottlingException"), "{}", relay.log());
    assert_eq!(service.count("outbox").await, 1);
    let mut relay = start(&service, "relay", &bus(None).await.endpoint, &[]).await;
    drain(&mut relay).await;
    assert_eq!(service.count("outbox").await, 0);
}

#[tokio::test]
async fn function_with_a_silent_collector_responds() {
    let (service, aws) = (TestService::new().await, bus(None).await);
    // Accepts connections and never responds.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", silent.local_addr().unwrap());
    let more = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str())];
    let mut function = start(&service, "api", &aws.endpoint, &more).await;
    assert_eq!(create(&service, &mut function, "SHOE-1").await.status, 201);
    for _ in 0..10 {
        assert_eq!(function.request("GET", "/v1/products", &[], "").await.status, 401);
    }
    within("a span, without which nothing is tested", silent.accept()).await.unwrap();
}

#[tokio::test]
async fn spans_are_sent_before_the_response() {
    let (service, aws) = (TestService::new().await, bus(None).await);
    let received = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = std::sync::Arc::clone(&received);
    let router = axum::Router::new().fallback(move |body: axum::body::Bytes| {
        counting.fetch_add(body.len(), std::sync::atomic::Ordering::SeqCst);
        std::future::ready("")
    });
    let collector = serve(router).await;
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        // Nor does the exporter send them by its own schedule, or when it has many.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "20000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20000"),
    ];
    let mut function = start(&service, "api", &aws.endpoint, &more).await;
    // The first request opens connections, which may take longer than a response waits.
    eventually("a span before a response", async || {
        function.request("GET", "/v1/products", &[], "").await;
        (received.load(std::sync::atomic::Ordering::SeqCst) > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn response_is_503_with_retry_after_when_database_starts() {
    let (service, aws) = (TestService::new().await, bus(None).await);
    // Accepts connections and never responds, as a starting server does.
    let asleep = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://a:b@{}/c", asleep.local_addr().unwrap());
    let unreachable = "postgres://a:b@127.0.0.1:1/c";
    for url in [url.as_str(), unreachable] {
        let mut function = start(&service, "api", &aws.endpoint, &[("DATABASE_URL", url)]).await;
        let refused = create(&service, &mut function, "SHOE-1").await;
        assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("unavailable")));
        assert_eq!(refused.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn response_is_503_with_retry_after_when_log_in_fails() {
    let (service, aws) = (TestService::new().await, bus(None).await);
    let more = [
        ("DATABASE_URL", "postgres://a@127.0.0.1:1/c"),
        ("VITRINA_DATABASE_AUTH", "iam"),
        ("VITRINA_DATABASE_CA", "system"),
    ];
    let mut function = start(&service, "api", &aws.endpoint, &more).await;
    let refused = create(&service, &mut function, "SHOE-1").await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &json!("1")));
    assert!(!function.log().contains("X-Amz-Signature"), "{}", function.log());
}

#[tokio::test]
async fn every_fault_of_the_settings_is_reported_at_start() {
    let settings = [
        ("VITRINA_ROLE", "api"),
        ("VITRINA_AUTH_ISSUER", "https://identity.vitrina.local"),
        ("VITRINA_DATABASE_AUTH", "iam"),
        ("VITRINA_DATABASE_CONNECTIONS", "many"),
    ];
    let mut function = Function::start(PROGRAM, &settings).await;
    assert!(!function.wait_for_exit().await.success());
    let log = function.log();
    for name in [
        "DATABASE_URL is not set",
        "VITRINA_DATABASE_CA is not set",
        "VITRINA_DATABASE_CONNECTIONS is wrong",
        "VITRINA_AUTH_ISSUER is wrong",
        "VITRINA_EVENT_BUS is not set",
    ] {
        assert!(log.contains(name), "{name} in {log}");
    }
    assert_eq!(log.lines().count(), 1, "one message: {log}");
}

#[tokio::test]
async fn migration_grants_access_and_is_idempotent() {
    let database = testkit::database(&[]).await;
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let owner = options.get_username().to_owned();
    let secret = json!({"username": owner, "password": "hunter2 'secret'", "port": 5432});
    let aws = FakeAws::start(move |operation, sent| {
        assert_eq!((operation, &sent["SecretId"]), ("GetSecretValue", &json!("owner")));
        FakeResponse::Success(json!({"Name": "owner", "SecretString": secret.to_string()}))
    })
    .await;
    let user = format!("vitrina \"app\" {}", Uuid::from_u128(rand::random()));
    let settings = [
        ("VITRINA_ROLE", "migrate"),
        ("DATABASE_URL", &database.url),
        ("VITRINA_DATABASE_SECRET", "owner"),
        ("VITRINA_DATABASE_APP_USER", user.as_str()),
        ("AWS_ENDPOINT_URL", &aws.endpoint),
    ];
    let mut function = Function::start(PROGRAM, &settings).await;
    for _ in 0..2 {
        assert_eq!(function.invoke(json!({"RequestType": "Update"})).await, Ok(Value::Null));
    }
    assert!(!function.log().contains("hunter2"), "{}", function.log());

    let application = sqlx::PgPool::connect_with(options.username(&user)).await.unwrap();
    let timeout: String =
        sqlx::query_scalar("show statement_timeout").fetch_one(&application).await.unwrap();
    assert_eq!(timeout, "5s");
    for allowed in ["select count(*) from inventory.products", "select count(*) from bus.messages"]
    {
        sqlx::query(allowed).execute(&application).await.unwrap();
    }
    for refused in ["create table inventory.mine (a int)", "drop table inventory.products"] {
        assert!(sqlx::query(refused).execute(&application).await.is_err(), "{refused}");
    }
    application.close().await;
    // Roles belong to the cluster, which other tests share.
    let name = user.replace('"', "\"\"");
    for statement in [format!("drop owned by \"{name}\""), format!("drop role \"{name}\"")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&database.pool).await.unwrap();
    }
}

#[tokio::test]
async fn failed_migration_does_not_log_its_secret() {
    let database = testkit::database(&[]).await;
    let aws = FakeAws::start(|_, _| {
        FakeResponse::Success(
            json!({"Name": "owner", "SecretString": "{\"password\": \"hunter2\"}"}),
        )
    })
    .await;
    let settings = [
        ("VITRINA_ROLE", "migrate"),
        ("DATABASE_URL", &database.url),
        ("VITRINA_DATABASE_SECRET", "owner"),
        ("AWS_ENDPOINT_URL", &aws.endpoint),
    ];
    let mut function = Function::start(PROGRAM, &settings).await;
    let error = function.invoke(json!({})).await.unwrap_err().to_string();
    assert!(error.contains("the secret has no username and password"), "{error}");
    assert!(!error.contains("hunter2") && !function.log().contains("hunter2"));
}
