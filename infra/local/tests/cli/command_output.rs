use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::{CommandResult, TestEdition, run};

const COMMANDS: [&str; 13] = [
    "up",
    "seed",
    "import",
    "token",
    "sync",
    "status",
    "trace",
    "dlq",
    "doctor",
    "openapi",
    "asyncapi",
    "completion",
    "help",
];

/// Runs a command that needs neither an edition nor a data folder.
async fn run_without_edition(arguments: &[&str]) -> CommandResult {
    run(Path::new("/nowhere"), arguments).await.expect(0)
}

/// Pipes a script to a program. `None` if the program is not installed.
async fn pipe_to(program: &[&str], script: &str) -> Option<Output> {
    let spawned = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    Some(child.wait_with_output().await.unwrap())
}

/// Waits until no event is in flight.
async fn wait_until_drained(edition: &TestEdition) {
    eventually("the end of all events in flight", async || {
        let status = edition.run(&["status", "-o", "json"]).await.expect(0).json();
        let waiting = ["outbox_pending", "queue_visible", "queue_in_flight"];
        waiting.iter().all(|name| status[name] == json!(0)).then_some(())
    })
    .await;
}

/// The variables of the lines that `status -o env` prints.
fn variables(lines: &str) -> BTreeMap<&str, &str> {
    lines.lines().map(|line| line.split_once('=').unwrap()).collect()
}

/// The line of a quote that is not closed: what an unescaped quote in a help text leaves behind.
fn open_quote(script: &str) -> Option<usize> {
    let (mut open, mut characters) = (None, script.char_indices());
    while let Some((at, character)) = characters.next() {
        match (character, open) {
            // Only fish escapes within single quotes, as `\'`. Other shells close them first.
            ('\\', _) => drop(characters.next()),
            ('#', None) if at == 0 || script[..at].ends_with(['\n', ' ']) => {
                characters.by_ref().find(|(_, next)| *next == '\n');
            }
            ('\'' | '"', None) => open = Some((character, at)),
            (_, Some((quote, _))) if quote == character => open = None,
            _ => {}
        }
    }
    open.map(|(_, at)| script[..at].lines().count())
}

#[test]
fn open_quote_is_found() {
    assert_eq!(open_quote("complete -d 'a \"b\" \\'c\\''\n# it's\n"), None);
    assert_eq!(open_quote("one\ncomplete -d 'the seller's'\nthree"), Some(2));
}

#[tokio::test]
async fn completion_scripts_parse_and_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run_without_edition(&["completion", shell]).await.stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert_eq!(open_quote(&script), None, "{shell}: a quote is not closed");
        // `.ci/run` installs all three. Elsewhere, only the quotes are checked for an absent shell.
        match pipe_to(&[shell, "-n"], &script).await {
            Some(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            None => assert_ne!(shell, "bash", "bash is not installed"),
        }
    }
    // Completes `vitrina dlq re` as if the user had pressed the tab key.
    let script = run_without_edition(&["completion", "bash"]).await.stdout;
    let tab = "COMP_WORDS=(vitrina dlq re); COMP_CWORD=2; _vitrina vitrina re dlq; \
                 echo \"${COMPREPLY[@]}\"";
    let completed = pipe_to(&["bash"], &format!("{script}\n{tab}\n")).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "redrive", "{completed:?}");

    run(Path::new("/nowhere"), &["completion", "csh"]).await.expect(2);
}

#[tokio::test]
async fn openapi_and_asyncapi_print_their_documents() {
    let openapi = run_without_edition(&["openapi"]).await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1."), "{}", openapi["openapi"]);
    let get = &openapi["paths"]["/v1/catalog/products"]["get"];
    assert!(get["responses"]["200"].is_object(), "{get}");

    let asyncapi = run_without_edition(&["asyncapi"]).await.json();
    assert!(asyncapi["asyncapi"].as_str().unwrap().starts_with("3.0."), "{asyncapi:#}");
    // Each announced message has a payload schema.
    let messages = asyncapi["operations"]["announce"]["messages"].as_array().unwrap();
    assert!(messages.len() >= 4, "{messages:?}");
    for message in messages {
        let pointer = message["$ref"].as_str().unwrap().trim_start_matches('#');
        let schema = &asyncapi.pointer(pointer).unwrap()["payload"]["schema"]["$ref"];
        let schema = schema.as_str().unwrap().trim_start_matches('#');
        assert!(asyncapi.pointer(schema).unwrap().is_object(), "{pointer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_prints_a_table_json_or_shell_variables() {
    let edition = TestEdition::start().await;
    let new = edition.run(&["status"]).await.expect(0).stdout;
    for wanted in ["0 pending", "none finished yet"] {
        assert!(new.contains(wanted), "{wanted} in {new}");
    }
    edition.run(&["seed", "--products", "20"]).await.expect(0);
    edition.catalogue(20).await;
    wait_until_drained(&edition).await;
    edition.run(&["sync"]).await.expect(0);

    let status = edition.run(&["status", "-o", "json"]).await.expect(0).json();
    let status = status.as_object().unwrap();
    for (name, expected) in [
        ("outbox_pending", json!(0)),
        ("outbox_oldest_age", Value::Null),
        ("repairs_pending", json!(0)),
        ("queue_visible", json!(0)),
        ("dead_letters", json!(0)),
        ("last_differences", json!(0)),
    ] {
        assert_eq!(status[name], expected, "{name} in {status:#?}");
    }
    let lag = |name: &str| status[name].as_f64().unwrap();
    assert!(0.0 < lag("lag_p50") && lag("lag_p50") <= lag("lag_p99"), "{status:#?}");
    let last = status["last_reconciliation"].as_str().unwrap();
    last.parse::<chrono::DateTime<chrono::Utc>>().unwrap();

    let table = edition.run(&["status", "-o", "table"]).await.expect(0).stdout;
    let rows: Vec<&str> = table.lines().map(str::trim).collect();
    for (row, words) in rows.iter().zip([
        ["outbox", "0 pending"],
        ["repairs", "0 pending"],
        ["queue", "visible"],
        ["dead letters", "0"],
        ["lag", "p99 <= "],
        ["reconciliation", "0 differences"],
    ]) {
        assert!(row.starts_with(words[0]) && row.contains(words[1]), "{words:?} in {table}");
    }
    assert_eq!(rows.len(), 6, "{table}");

    let lines = edition.run(&["status", "-o", "env"]).await.expect(0).stdout;
    let variables = variables(&lines);
    assert_eq!(variables.len(), status.len(), "{lines}");
    for (name, value) in status {
        let printed = variables[format!("VITRINA_{}", name.to_uppercase()).as_str()];
        match value {
            Value::Null => assert_eq!(printed, "", "{name}"),
            Value::String(text) => assert_eq!(printed, text, "{name}"),
            other => assert_eq!(printed, other.to_string(), "{name}"),
        }
    }
    // A shell can evaluate the printed lines.
    let script =
        format!("set -eu\n{lines}\necho \"$VITRINA_OUTBOX_PENDING $VITRINA_LAST_RECONCILIATION\"");
    let output = pipe_to(&["sh"], &script).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("0 {last}\n"), "{output:?}");
    edition.run(&["status", "-o", "xml"]).await.expect(2);
    edition.stop().await;
}
