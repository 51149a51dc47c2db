//! First use: the commands of the README as written, and the errors of a start that cannot work.

use std::path::Path;

use serde_json::json;
use shared::config::Settings;
use tokio::process::Command;

use crate::process::{Process, vitrina};

/// The shell commands between the two `tested` marks of the README.
fn commands_of_the_readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let mut commands = String::new();
    let marked = text.split("<!-- tested -->").nth(1).expect("the README has tested commands");
    for block in marked.split("```sh\n").skip(1) {
        commands.push_str(block.split("```").next().unwrap());
    }
    commands
}

#[tokio::test]
async fn readme_commands_work_as_written() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let script = commands_of_the_readme()
        .replace("target/release/vitrina", env!("CARGO_BIN_EXE_vitrina"))
        .replace("http://127.0.0.1:8080", &process.url);
    assert!(script.matches("curl ").count() >= 5, "the README has too few commands:\n{script}");
    // The README leaves `--fail-with-body` out, but here an error response must fail the test. On a busy
    // machine, a version takes longer to arrive than a request waits.
    let options = "--silent --show-error --fail-with-body --retry 100 --retry-max-time 300";
    let script = script.replace("curl ", &format!("curl {options} "));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("VITRINA_DATA", data.path())
        .output()
        .await
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    assert!(out.contains("\"name\":\"Running shoe\""), "{out}");
    process.terminate().await;
}

#[tokio::test]
async fn up_without_postgresql_fails_with_one_helpful_line() {
    let data = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let output = vitrina(data.path())
        .args(["up", "--listen", "127.0.0.1:0"])
        .env("VITRINA_POSTGRES_BIN", empty.path())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().find(|line| line.starts_with("vitrina: ")).unwrap();
    assert!(message.contains("PostgreSQL") || message.contains("initdb"), "{stderr}");
    assert!(output.stdout.is_empty());
}

/// Hides the machine's PostgreSQL behind empty mounts, and starts an edition.
const WITHOUT_POSTGRESQL: &str = "for folder in /usr/lib/postgresql* /usr/lib64/postgresql* \
    /usr/libexec/postgresql* /usr/pgsql-* /usr/local/pgsql; do
    if [ -d \"$folder\" ]; then mount -t tmpfs none \"$folder\"; fi
done
exec \"$0\" up --listen 127.0.0.1:0";

/// If this is 1 and the machine refuses namespaces, the test that needs one is skipped.
const WITHOUT_NAMESPACES: &str = "VITRINA_TEST_WITHOUT_NAMESPACES";

/// Needs a mount namespace: root always gets one, other users only on some machines.
#[tokio::test]
async fn first_start_suggests_a_fix_when_postgresql_is_missing() {
    let namespace = ["--mount", "--map-root-user"];
    let allowed = Command::new("unshare").args(namespace).arg("true").output().await;
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        let may_skip = Settings::from_env().text(WITHOUT_NAMESPACES) == Some("1");
        assert!(
            may_skip,
            "this machine refuses the namespace that hides PostgreSQL ({allowed:?}); set \
             {WITHOUT_NAMESPACES}=1 to skip this test"
        );
        eprintln!("skipped: {WITHOUT_NAMESPACES}=1");
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-euc", WITHOUT_POSTGRESQL, env!("CARGO_BIN_EXE_vitrina")])
        .env_remove("DATABASE_URL")
        .env_remove("VITRINA_POSTGRES_BIN")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("VITRINA_DATA", data.path())
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let message = stderr.lines().find(|line| line.starts_with("vitrina: ")).unwrap();
    assert!(message.contains("PostgreSQL") && message.contains("DATABASE_URL"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn command_names_the_part_that_is_not_running() {
    let data = tempfile::tempdir().unwrap();
    let parts = "inventory,relay,catalog,projector";
    let process = Process::start_with(data.path(), &[("VITRINA_ROLES", parts)]).await;
    for (command, part) in [(["token", "seller"], "identity"), (["sync", "--json"], "sync")] {
        let output = vitrina(data.path()).args(command).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("`{part}`")), "{stderr}");
    }
    process.terminate().await;
}

#[tokio::test]
async fn command_fails_without_a_running_edition() {
    let data = tempfile::tempdir().unwrap();
    let output = vitrina(data.path()).args(["token", "seller"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vitrina up"));
}

#[tokio::test]
async fn up_names_the_process_that_holds_its_port() {
    let data = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = vitrina(data.path()).args(["up", "--listen", &address]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let holder = format!("process {}", std::process::id());
    assert!(stderr.contains(&address) && stderr.contains(&holder), "{stderr}");
}

#[tokio::test]
async fn second_edition_on_one_data_folder_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let output =
        vitrina(data.path()).args(["up", "--listen", "127.0.0.1:0"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another vitrina"));
    process.terminate().await;
}

#[tokio::test]
async fn edition_limits_log_ins() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("VITRINA_ROLES", "identity"), ("VITRINA_RATE_LIMIT", "20")];
    let process = Process::start_with(data.path(), &settings).await;
    let http = reqwest::Client::new();
    // Invalid, so that none is hashed. Each counts as a second of requests.
    let log_in = || http.post(format!("{}/v1/auth/login", process.url)).json(&json!({})).send();
    let responses = futures::future::join_all((0..20).map(|_| log_in())).await;
    let statuses: Vec<u16> =
        responses.into_iter().map(|response| response.unwrap().status().as_u16()).collect();
    assert!(statuses.contains(&422) && statuses.contains(&429), "{statuses:?}");
    process.terminate().await;
}
