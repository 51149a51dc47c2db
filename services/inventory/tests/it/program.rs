use serde_json::Value;
use testkit::{Program, eventually, within};

use crate::TestService;

const PROGRAM: &str = env!("CARGO_BIN_EXE_inventory");
const ISSUER: (&str, &str) = ("VITRINA_AUTH_ISSUER", "https://identity.test");

async fn start(service: &TestService, process_role: &str, more: &[(&str, &str)]) -> Program {
    let settings = [("VITRINA_ROLE", process_role), ("DATABASE_URL", service.url()), ISSUER];
    Program::start(PROGRAM, &[&settings, more].concat()).await
}

#[tokio::test]
async fn each_process_role_serves_readiness_and_metrics() {
    let service = TestService::new().await;
    for process_role in ["api", "relay"] {
        let program = start(&service, process_role, &[]).await;
        let (status, ready) = program.get("/readyz").await.unwrap();
        assert_eq!(status, 200);
        let ready: Value = serde_json::from_str(&ready).unwrap();
        assert_eq!(ready, serde_json::json!({"ready": true, "postgres": true}));
        let (status, metrics) = program.get("/metrics").await.unwrap();
        assert_eq!(status, 200);
        assert!(metrics.contains("vitrina_http_request_seconds"), "{metrics}");
        let (status, _) = program.get("/v1/products").await.unwrap();
        assert_eq!(status, if process_role == "api" { 401 } else { 404 });
        assert_eq!(program.terminate().await, Some(0), "{process_role}");
    }
}

#[tokio::test]
async fn program_is_not_ready_without_its_database() {
    let settings = [("DATABASE_URL", "postgres://user@127.0.0.1:1/nothing"), ISSUER];
    let program = Program::start(PROGRAM, &settings).await;
    assert_eq!(program.get("/readyz").await.unwrap().0, 503);
    assert_eq!(program.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn program_exits_with_1_and_names_the_missing_settings() {
    let mut program = tokio::process::Command::new(PROGRAM);
    let ended = program.env_clear().env("VITRINA_ROLE", "api").kill_on_drop(true).output();
    let ended = within("the end of the program", ended).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    for setting in ["DATABASE_URL", ISSUER.0] {
        assert!(stderr.contains(setting), "{setting}: {stderr}");
    }
}

#[tokio::test]
async fn program_exits_with_an_error_when_its_port_is_in_use() {
    let service = TestService::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = tokio::process::Command::new(PROGRAM)
        .env_clear()
        .env("VITRINA_BIND", "127.0.0.1")
        .env("PORT", taken.local_addr().unwrap().port().to_string())
        .envs([("VITRINA_ROLE", "relay"), ("DATABASE_URL", service.url()), ISSUER])
        .kill_on_drop(true)
        .output();
    let ended = within("the end of the program", ended).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("in use"), "{ended:?}");
}

#[tokio::test]
async fn rate_limit_applies_to_the_api_but_not_to_health_checks() {
    let service = TestService::new().await;
    let program = start(&service, "api", &[("VITRINA_RATE_LIMIT", "1")]).await;
    // At once: one after the other, each might come a second later.
    let ask = async |path: &str| {
        let responses = futures::future::join_all((0..20).map(|_| program.get(path))).await;
        responses.into_iter().map(|response| response.unwrap().0).collect::<Vec<_>>()
    };
    for path in ["/v1/products", "/v1/unknown"] {
        eventually(path, async || ask(path).await.contains(&429).then_some(())).await;
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(path).await, [200; 20], "{path}");
    }
}
