use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::Instant;

use crate::{DEADLINE, Ended, World, run};

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

/// What needs no edition, and not even a data folder.
async fn printed(arguments: &[&str]) -> Ended {
    let nothing = Path::new("/nowhere");
    run(nothing, arguments).await.expect(0)
}

/// Gives a script to a program; `None` where the machine does not have it.
async fn read_by(program: &[&str], script: &str) -> Option<Output> {
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

/// Waits until nothing is under way any more.
async fn quiet(world: &World) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = world.run(&["status", "-o", "json"]).await.expect(0).json();
        let waiting = ["outbox_pending", "queue_visible", "queue_in_flight"];
        if waiting.iter().all(|name| status[name] == json!(0)) {
            return;
        }
        assert!(Instant::now() < deadline, "it does not come to rest: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The variables of the lines that `status -o env` prints.
fn variables(lines: &str) -> BTreeMap<&str, &str> {
    lines.lines().map(|line| line.split_once('=').unwrap()).collect()
}

#[tokio::test]
async fn the_completion_of_each_shell_is_a_script_that_it_reads_and_knows_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completion", shell]).await.stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        match read_by(&[shell, "-n"], &script).await {
            Some(read) => assert!(read.status.success(), "{shell}: {read:?}"),
            None => assert_ne!(shell, "bash", "bash is not there"),
        }
    }
    // What somebody gets who presses the tabulator behind `vitrina dlq re`.
    let script = printed(&["completion", "bash"]).await.stdout;
    let press = "COMP_WORDS=(vitrina dlq re); COMP_CWORD=2; _vitrina vitrina re dlq; \
                 echo \"${COMPREPLY[@]}\"";
    let completed = read_by(&["bash"], &format!("{script}\n{press}\n")).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "redrive", "{completed:?}");

    run(Path::new("/nowhere"), &["completion", "csh"]).await.expect(2);
}

#[tokio::test]
async fn the_descriptions_of_the_api_and_of_the_events_are_printed() {
    let openapi = printed(&["openapi"]).await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1."), "{}", openapi["openapi"]);
    let get = &openapi["paths"]["/v1/catalog/products"]["get"];
    assert!(get["responses"]["200"].is_object(), "{get}");

    let asyncapi = printed(&["asyncapi"]).await.json();
    assert!(asyncapi["asyncapi"].as_str().unwrap().starts_with("3.0."), "{asyncapi:#}");
    // Every message that is announced is described.
    let messages = asyncapi["operations"]["announce"]["messages"].as_array().unwrap();
    assert!(messages.len() >= 4, "{messages:?}");
    for message in messages {
        let place = message["$ref"].as_str().unwrap().trim_start_matches('#');
        let schema = &asyncapi.pointer(place).unwrap()["payload"]["schema"]["$ref"];
        let schema = schema.as_str().unwrap().trim_start_matches('#');
        assert!(asyncapi.pointer(schema).unwrap().is_object(), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_said_as_a_table_as_json_and_as_variables() {
    let world = World::start().await;
    let new = world.run(&["status"]).await.expect(0).stdout;
    for wanted in ["0 pending", "none finished yet"] {
        assert!(new.contains(wanted), "{wanted} in {new}");
    }
    world.run(&["seed", "--products", "20"]).await.expect(0);
    world.catalogue(20).await;
    quiet(&world).await;
    world.run(&["sync"]).await.expect(0);

    let status = world.run(&["status", "-o", "json"]).await.expect(0).json();
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

    let table = world.run(&["status", "-o", "table"]).await.expect(0).stdout;
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

    let lines = world.run(&["status", "-o", "env"]).await.expect(0).stdout;
    let variables = variables(&lines);
    assert_eq!(variables.len(), status.len(), "{lines}");
    for (name, value) in status {
        let said = variables[format!("VITRINA_{}", name.to_uppercase()).as_str()];
        match value {
            Value::Null => assert_eq!(said, "", "{name}"),
            Value::String(text) => assert_eq!(said, text, "{name}"),
            other => assert_eq!(said, other.to_string(), "{name}"),
        }
    }
    // A shell reads them.
    let script =
        format!("set -eu\n{lines}\necho \"$VITRINA_OUTBOX_PENDING $VITRINA_LAST_RECONCILIATION\"");
    let read = read_by(&["sh"], &script).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), format!("0 {last}\n"), "{read:?}");
    world.run(&["status", "-o", "xml"]).await.expect(2);
    world.stop().await;
}
