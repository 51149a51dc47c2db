use serde_json::Value;
use testkit::Program;

use crate::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_inventory");
const ISSUER: (&str, &str) = ("VITRINA_AUTH_ISSUER", "https://identity.test");

async fn start(world: &World, role: &str, more: &[(&str, &str)]) -> Program {
    let settings = [("VITRINA_ROLE", role), ("DATABASE_URL", world.url()), ISSUER];
    Program::start(PROGRAM, &[&settings, more].concat()).await
}

#[tokio::test]
async fn each_role_says_whether_it_can_work_and_what_it_measures() {
    let world = World::new().await;
    for role in ["api", "relay"] {
        let program = start(&world, role, &[]).await;
        let (status, ready) = program.get("/readyz").await.unwrap();
        assert_eq!(status, 200);
        let ready: Value = serde_json::from_str(&ready).unwrap();
        assert_eq!(ready, serde_json::json!({"ready": true, "postgres": true}));
        let (status, metrics) = program.get("/metrics").await.unwrap();
        assert_eq!(status, 200);
        assert!(metrics.contains("vitrina_http_request_seconds"), "{metrics}");
        let (status, _) = program.get("/v1/products").await.unwrap();
        assert_eq!(status, if role == "api" { 401 } else { 404 });
    }
}

#[tokio::test]
async fn a_program_whose_database_is_gone_is_not_ready() {
    let settings = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing"), ISSUER];
    let program = Program::start(PROGRAM, &settings).await;
    assert_eq!(program.get("/readyz").await.unwrap().0, 503);
    assert_eq!(program.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_role_whose_port_is_taken_says_so_and_ends() {
    let world = World::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = tokio::process::Command::new(PROGRAM)
        .env_clear()
        .env("VITRINA_BIND", "127.0.0.1")
        .env("PORT", taken.local_addr().unwrap().port().to_string())
        .envs([("VITRINA_ROLE", "relay"), ("DATABASE_URL", world.url()), ISSUER])
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ended);
    let ended = ended.await.expect("it works on, unseen").unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("in use"), "{ended:?}");
}

#[tokio::test]
async fn a_program_by_itself_limits_its_callers_and_never_who_looks_after_it() {
    let world = World::new().await;
    let program = start(&world, "api", &[("VITRINA_RATE_LIMIT", "1")]).await;
    let mut refused = false;
    for _ in 0..20 {
        refused |= program.get("/v1/products").await.unwrap().0 == 429;
        assert_eq!(program.get("/healthz").await.unwrap().0, 200);
    }
    assert!(refused);
}
