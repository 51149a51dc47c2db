//! The exit code of every command in every situation, generated from the commands that clap knows.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use clap::CommandFactory as _;
use shared::contract::listing::key_of;
use shared::contract::routes::CATALOG_QUEUE;
use shared::dynamodb::connect_local;
use testkit::{eventually, within};
use tokio::net::TcpListener;
use tokio::process::Command;
use vitrina::commands::Cli;

use crate::{CommandResult, TestEdition, dlq, vitrina};

const SIGTERM: i32 = 15;

/// A command with arguments, and its exit codes.
struct Row {
    command: &'static str,
    /// Words in braces stand for values of the test.
    arguments: &'static str,
    /// No edition runs on the data folder.
    without: Option<i32>,
    /// An edition runs, without differences and dead letters.
    clean: Option<i32>,
    /// There are a difference and a dead letter.
    found: Option<i32>,
}

const fn row(command: &'static str, arguments: &'static str, codes: [Option<i32>; 3]) -> Row {
    let [without, clean, found] = codes;
    Row { command, arguments, without, clean, found }
}

/// In this order: the first `sync` repairs the difference, and `discard` leaves no dead letter.
const ROWS: [Row; 23] = [
    // That it ends with 0 when it is interrupted is tested with its start.
    row("up", "--listen 127.0.0.1:0", [None, Some(1), None]),
    row("up", "--roles none", [Some(2), None, None]),
    row("seed", "--products 2", [Some(4), Some(0), None]),
    row("load", "--rate 10 --seconds 1", [Some(4), Some(0), None]),
    row("import", "{file}", [Some(4), Some(0), None]),
    row("import", "{file} --dry-run", [Some(0), None, None]),
    row("import", "{faulty}", [None, Some(1), None]),
    row("import", "{faulty} --dry-run", [Some(1), None, None]),
    row("doctor", "--listen 127.0.0.1:0", [Some(0), None, None]),
    row("doctor", "--listen {taken}", [Some(1), None, None]),
    row("doctor", "--listen {address}", [None, Some(0), Some(0)]),
    row("token", "buyer", [Some(4), Some(0), Some(0)]),
    row("sync", "", [Some(4), Some(0), Some(3)]),
    row("status", "", [Some(4), Some(0), Some(3)]),
    row("trace", "{product}", [Some(4), Some(0), Some(0)]),
    row("trace", "01890000-0000-7000-8000-000000000000", [None, Some(1), None]),
    row("dlq list", "", [Some(4), Some(0), Some(3)]),
    row("dlq show", "{letter}", [Some(4), Some(1), Some(0)]),
    row("dlq redrive", "--all --dry-run", [Some(4), Some(0), Some(0)]),
    row("dlq discard", "--all", [Some(4), Some(0), Some(0)]),
    row("openapi", "", [Some(0), None, None]),
    row("asyncapi", "", [Some(0), None, None]),
    row("completion", "bash", [Some(0), None, None]),
];

/// The commands that run, such as `dlq list`.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(name: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let name = format!("{name} {}", inner.get_name()).trim().to_owned();
            if inner.has_subcommands() {
                walk(&name, inner, found);
            } else {
                found.push((name, inner.clone()));
            }
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk("", &root, &mut found);
    found
}

/// What words in braces stand for.
struct Values<'a>(Vec<(&'a str, String)>);

impl Values<'_> {
    fn arguments(&self, row: &Row) -> Vec<String> {
        let words = format!("{} {}", row.command, row.arguments);
        let value = |word: &str| {
            let value = self.0.iter().find(|(name, _)| format!("{{{name}}}") == word);
            value.map_or_else(|| word.to_owned(), |(_, value)| value.clone())
        };
        words.split_whitespace().map(value).collect()
    }

    async fn expect(&self, data: &Path, row: &Row, code: Option<i32>) {
        let Some(code) = code else { return };
        let arguments = self.arguments(row);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = vitrina(data, &words).stdin(Stdio::null()).output();
        let result = CommandResult::from(within(row.command, output).await.unwrap());
        assert_eq!(result.code, code, "{arguments:?}: {result:#?}");
        if code == 4 {
            assert!(result.stderr.contains("no vitrina runs on"), "{arguments:?}: {result:#?}");
            assert_eq!(result.stdout, "", "{arguments:?}");
        }
    }
}

#[test]
fn every_command_has_a_row_and_succeeds_in_one() {
    let commands: BTreeSet<String> = commands().into_iter().map(|(name, _)| name).collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.command.to_owned()).collect();
    assert_eq!(rows, commands, "give each command a row with its exit codes");
    for command in commands.iter().filter(|command| *command != "up") {
        let rows = ROWS.iter().filter(|row| row.command == command);
        let codes: Vec<i32> =
            rows.flat_map(|row| [row.without, row.clean, row.found]).flatten().collect();
        assert!(codes.contains(&0), "{command} succeeds in no row");
        let has_edition_code = codes.contains(&4) || codes.len() == 1 || command == "doctor";
        assert!(has_edition_code, "{command} has no code without an edition");
    }
}

#[test]
fn unknown_option_ends_each_command_with_2_and_help_with_0() {
    for (name, _) in commands() {
        for (option, code) in [("--no-such-option", 2), ("--help", 0)] {
            let words = ["vitrina"].into_iter().chain(name.split(' ')).chain([option]);
            let stopped = Cli::command().try_get_matches_from(words).unwrap_err();
            assert_eq!(stopped.exit_code(), code, "{name} {option}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_exits_with_its_code_in_each_situation() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, price: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("sku,name,category,price\nA,Shoe,shoes,{price}\n")).unwrap();
        file.display().to_string()
    };
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut values = Values(vec![
        ("file", write("good.csv", "1.00")),
        ("faulty", write("faulty.csv", "cheap")),
        ("taken", holder.local_addr().unwrap().to_string()),
        ("product", "01890000-0000-7000-8000-000000000000".to_owned()),
        ("letter", "1".to_owned()),
    ]);
    for row in &ROWS {
        values.expect(folder.path(), row, row.without).await;
    }

    let edition = TestEdition::start().await;
    edition.run(&["seed", "--products", "1"]).await.expect(0);
    let product = edition.catalogue(1).await[0]["id"].as_str().unwrap().to_owned();
    values.0.retain(|(name, _)| *name != "product");
    values.0.push(("address", edition.running.url.trim_start_matches("http://").to_owned()));
    values.0.push(("product", product.clone()));
    for row in &ROWS {
        values.expect(edition.data.path(), row, row.clean).await;
    }

    plant_difference(&edition, &product).await;
    let letter = plant_dead_letter(&edition).await;
    values.0.retain(|(name, _)| *name != "letter");
    values.0.push(("letter", letter.to_string()));
    for row in &ROWS {
        values.expect(edition.data.path(), row, row.found).await;
    }
    let running = edition.data.path().join("running.json");
    let left = std::fs::read(&running).unwrap();
    let data = edition.stop().await;
    // A killed edition leaves this file behind.
    std::fs::write(&running, left).unwrap();
    for row in &ROWS {
        values.expect(data.path(), row, row.without).await;
    }
}

#[tokio::test]
async fn flag_of_up_in_front_of_another_command_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let command = Cli::command();
    let up = command.find_subcommand("up").unwrap();
    for argument in up.get_arguments().filter(|it| !it.is_global_set()) {
        let flag = argument.get_long().unwrap();
        let value = match flag {
            "listen" => "127.0.0.1:1",
            "roles" => "sync",
            "currency" => "JPY",
            other => panic!("give --{other} a value"),
        };
        let flag = format!("--{flag}");
        let result = CommandResult::from(
            vitrina(folder.path(), &[&flag, value, "status"]).output().await.unwrap(),
        );
        assert_eq!(result.code, 2, "{result:#?}");
        assert!(result.stderr.contains(&flag), "{result:#?}");
    }
}

async fn plant_difference(edition: &TestEdition, product: &str) {
    let running = std::fs::read(edition.data.path().join("running.json")).unwrap();
    let running: serde_json::Value = serde_json::from_slice(&running).unwrap();
    let client = connect_local(running["dynamodb"].as_str().unwrap());
    let delete = client.delete_item().table_name("listings");
    delete.set_key(Some(key_of(product.parse().unwrap()))).send().await.unwrap();
}

async fn plant_dead_letter(edition: &TestEdition) -> i64 {
    let mut database = dlq::database(edition.data.path()).await;
    let message = "insert into bus.messages
                       (queue, event_id, event_type, subject, body, sent_at, visible_at)
                   values ($1, gen_random_uuid(), 'ProductUpdated', gen_random_uuid(), '{', now(),
                       now())";
    sqlx::query(message).bind(CATALOG_QUEUE).execute(&mut database).await.unwrap();
    eventually("a dead letter", async || {
        let id = sqlx::query_scalar("select id from bus.dead_letters");
        id.fetch_optional(&mut database).await.unwrap()
    })
    .await
}

/// Arguments of a command that asks a remote edition.
fn remote_arguments(name: &str) -> Option<&'static str> {
    let row = ROWS.iter().find(|row| row.command == name)?;
    Some(match row.arguments {
        "{product}" => "01890000-0000-7000-8000-000000000000",
        "{letter}" => "1",
        others => others,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_command_is_ended_by_the_signal() {
    let remote = |command: &clap::Command| command.get_arguments().any(|it| it.get_id() == "url");
    let waiting: Vec<String> =
        commands().into_iter().filter(|(_, it)| remote(it)).map(|(name, _)| name).collect();
    assert!(waiting.len() >= 7, "{waiting:?}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for name in waiting {
        let arguments = remote_arguments(&name).unwrap();
        let words = format!("{name} {arguments} --url {url}");
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = vitrina(Path::new("/nowhere"), &words);
        command.env("VITRINA_TOKEN", "x").stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // It waits for a response, which never comes.
        let _connection = within(&name, silent.accept()).await.unwrap();
        let pid = child.id().unwrap().to_string();
        // Not SIGINT: a command that a script starts in the background inherits that it is ignored.
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        let status = within(&name, child.wait()).await.unwrap();
        assert_eq!((status.signal(), status.code()), (Some(SIGTERM), None), "{name}");
    }
}
