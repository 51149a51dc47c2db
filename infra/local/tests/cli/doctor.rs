use serde_json::Value;

use crate::{TestEdition, run};

fn state<'a>(report: &'a Value, what: &str) -> &'a str {
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["what"] == what)
        .and_then(|check| check["state"].as_str())
        .unwrap_or("not looked at")
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_a_running_edition_and_a_stale_state_file() {
    let edition = TestEdition::start().await;
    let address = edition.running.url.trim_start_matches("http://").to_owned();
    let doctor = ["doctor", "--listen", &address, "-o", "json"];
    let report = edition.run(&doctor).await.expect(0).json();
    for what in ["settings", "in use", "port", "PostgreSQL server", "edition"] {
        assert_eq!(state(&report, what), "ok", "{what} in {report:#}");
    }
    // On a busy machine, a response may arrive seconds after its `Date`.
    assert!(["ok", "warning"].contains(&state(&report, "clock")), "{report:#}");
    let listen = &report["settings"][1];
    assert_eq!(listen["source"], "flag", "{listen}");
    assert_eq!(report["settings"][0]["source"], "environment", "{report:#}");

    let data = edition.stop().await;
    let report = run(data.path(), &doctor).await.expect(0).json();
    assert_eq!(state(&report, "edition"), "not looked at", "{report:#}");
    assert_eq!(state(&report, "port"), "ok", "{report:#}");

    let left = r#"{"pid": 1, "url": "http://127.0.0.1:1", "dynamodb": "http://127.0.0.1:1"}"#;
    std::fs::write(data.path().join("running.json"), left).unwrap();
    let report = run(data.path(), &doctor).await.expect(0).json();
    assert_eq!(state(&report, "in use"), "warning", "{report:#}");

    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let result = run(data.path(), &["doctor", "--listen", &taken]).await.expect(1);
    assert!(result.stdout.contains("choose another address with --listen"), "{result:#?}");
}
