//! What somebody new does: the README, letter by letter, and a machine without PostgreSQL.

use std::path::Path;

use shared::config::Settings;
use tokio::process::Command;

use crate::process::{Process, vitrina};

/// The commands of the README that stand between its two marks.
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
async fn the_commands_of_the_readme_work_as_they_stand() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let script = commands_of_the_readme()
        .replace("target/release/vitrina", env!("CARGO_BIN_EXE_vitrina"))
        .replace("http://127.0.0.1:8080", &process.url);
    assert!(script.matches("curl ").count() >= 5, "the README has too few commands:\n{script}");
    // `--fail-with-body` where the README leaves it out: a refusal must fail this test.
    let script = script.replace("curl ", "curl --silent --show-error --fail-with-body ");
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
async fn without_postgresql_one_line_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let output = vitrina(data.path())
        .args(["up", "--listen", "127.0.0.1:0"])
        .env("VITRINA_POSTGRES_BIN", nothing.path())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| line.starts_with("vitrina: ")).unwrap();
    assert!(complaint.contains("PostgreSQL") || complaint.contains("initdb"), "{said}");
    assert!(output.stdout.is_empty());
}

/// Hides what the machine has of PostgreSQL from one process, and starts that.
const WITHOUT_POSTGRESQL: &str = "for place in /usr/lib/postgresql* /usr/lib64/postgresql* \
    /usr/libexec/postgresql* /usr/pgsql-* /usr/local/pgsql; do
    if [ -d \"$place\" ]; then mount -t tmpfs none \"$place\"; fi
done
exec \"$0\" up --listen 127.0.0.1:0";

/// Where this is 1, the machine may refuse namespaces, and the test that needs one is left out.
const WITHOUT_NAMESPACES: &str = "VITRINA_TEST_WITHOUT_NAMESPACES";

/// Where ordinary users may have namespaces of their own, and for root everywhere.
#[tokio::test]
async fn a_first_start_on_a_machine_whose_postgresql_is_hidden_says_the_one_command_to_run() {
    let namespace = ["--mount", "--map-root-user"];
    let allowed = Command::new("unshare").args(namespace).arg("true").output().await;
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        let left_out = Settings::from_env().text(WITHOUT_NAMESPACES) == Some("1");
        assert!(
            left_out,
            "this machine gives no namespace to hide PostgreSQL in ({allowed:?}); set \
             {WITHOUT_NAMESPACES}=1 to leave this test out"
        );
        eprintln!("left out: {WITHOUT_NAMESPACES}=1");
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
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let complaint = said.lines().find(|line| line.starts_with("vitrina: ")).unwrap();
    assert!(complaint.contains("PostgreSQL") && complaint.contains("DATABASE_URL"), "{said}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_command_for_a_role_that_does_not_run_names_it() {
    let data = tempfile::tempdir().unwrap();
    let roles = "inventory,relay,catalog,projector";
    let process = Process::start_with(data.path(), &[("VITRINA_ROLES", roles)]).await;
    for (command, role) in [(["token", "seller"], "identity"), (["sync", "--json"], "sync")] {
        let output = vitrina(data.path()).args(command).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("`{role}`")), "{said}");
    }
    process.terminate().await;
}

#[tokio::test]
async fn a_command_without_a_running_edition_says_so() {
    let data = tempfile::tempdir().unwrap();
    let output = vitrina(data.path()).args(["token", "seller"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vitrina up"));
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_holder() {
    let data = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = vitrina(data.path()).args(["up", "--listen", &address]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let holder = format!("process {}", std::process::id());
    assert!(said.contains(&address) && said.contains(&holder), "{said}");
}

#[tokio::test]
async fn two_editions_do_not_share_a_data_folder() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let output =
        vitrina(data.path()).args(["up", "--listen", "127.0.0.1:0"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another vitrina"));
    process.terminate().await;
}
