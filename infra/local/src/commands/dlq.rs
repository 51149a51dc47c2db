//! `vitrina dlq`: lists, shows, redrives and discards dead letters.

use std::time::Duration;

use axum::http::Method;
use chrono::SecondsFormat;
use clap::builder::NonEmptyStringValueParser;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use shared::bus::selection::DeadLetter;
use shared::http::page::Page;
use sync::SettledDeadLetters;

use crate::client::Client;
use crate::client::remote::Remote;
use crate::console::exit::{FOUND, OK};
use crate::console::global::Global;
use crate::console::output::print;
use crate::console::output::{Output, OutputArgs};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DlqArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum DlqCommand {
    /// List dead letters, oldest first
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one dead letter with its message
    Show {
        /// Id, as shown by `dlq list`
        id: i64,
    },
    /// Put dead letters back into their queue
    Redrive {
        #[command(flatten)]
        selection: Selection,
        /// Maximum per second, so as not to flood the projector
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        rate: Option<u16>,
    },
    /// Delete dead letters permanently
    Discard(Selection),
}

/// Dead letters that match every given filter.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Filter {
    /// Queue, such as `catalog`
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    queue: Option<String>,
    /// Event type, such as `ProductUpdated`
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    r#type: Option<String>,
    /// Text that the reason contains
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Minimum age, such as 90s, 15m, 2h or 7d
    #[arg(long, value_parser = parse_age)]
    older_than: Option<Duration>,
}

#[derive(clap::Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("selection").required(true).multiple(true)
    .args(["ids", "queue", "type", "reason", "older_than", "all"]))]
pub(crate) struct Selection {
    /// Ids, as shown by `dlq list`
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters
    #[arg(long)]
    all: bool,
    /// Only count the matching dead letters
    #[arg(long)]
    dry_run: bool,
}

/// Reads a number of seconds, minutes, hours or days.
fn parse_age(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().filter(char::is_ascii_alphabetic);
    let number = text.strip_suffix(|c: char| c.is_ascii_alphabetic()).unwrap_or(text);
    let seconds = match unit {
        None | Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)) {
        Some(age) if seconds > 0 && u32::try_from(age).is_ok() => Ok(Duration::from_secs(age)),
        _ => Err("must be a number and s, m, h or d, such as 15m".to_owned()),
    }
}

pub(crate) async fn run(global: &Global, args: DlqArgs) -> anyhow::Result<u8> {
    let client = args.remote.operator(global, None)?;
    match args.command {
        DlqCommand::List { filter, output } => list(&client, &filter, output.output).await,
        DlqCommand::Show { id } => {
            let letter: Value = client.get(&format!("/v1/admin/dead-letters/{id}")).await?;
            print(&serde_json::to_string_pretty(&letter)?)?;
            Ok(OK)
        }
        DlqCommand::Redrive { selection, rate } => {
            settle(&client, "redrive", "redriven", &selection, rate).await
        }
        DlqCommand::Discard(selection) => {
            settle(&client, "discard", "discarded", &selection, None).await
        }
    }
}

/// Lists dead letters. The exit code is [`FOUND`] if there are any.
async fn list(client: &Client, filter: &Filter, output: Output) -> anyhow::Result<u8> {
    let mut letters = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut call = client.call(Method::GET, "/v1/admin/dead-letters").query("limit", "100");
        if let Some(queue) = &filter.queue {
            call = call.query("queue", queue);
        }
        if let Some(event_type) = &filter.r#type {
            call = call.query("type", event_type);
        }
        if let Some(reason) = &filter.reason {
            call = call.query("reason", reason);
        }
        if let Some(age) = filter.older_than {
            call = call.query("older_than", &age.as_secs().to_string());
        }
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page: Page<DeadLetter> = call.send().await?;
        letters.extend(page.data);
        cursor = page.page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    match output {
        Output::Json => print(&serde_json::to_string_pretty(&letters)?)?,
        Output::Text if letters.is_empty() => print("no dead letters")?,
        Output::Text => print(&table(&letters).to_string())?,
    }
    Ok(if letters.is_empty() { OK } else { FOUND })
}

fn table(letters: &[DeadLetter]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "dead since", "type", "product", "attempts", "reason", "queue"]);
    for letter in letters {
        table.add_row([
            &letter.id.to_string(),
            &letter.dead_at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            &letter.event_type,
            &letter.subject.to_string(),
            &letter.attempts.to_string(),
            &letter.reason,
            // Last, so that scripts that cut columns by number keep working.
            &letter.queue,
        ]);
    }
    table
}

async fn settle(
    client: &Client,
    action: &str,
    done: &str,
    selection: &Selection,
    rate: Option<u16>,
) -> anyhow::Result<u8> {
    let mut body = json!({ "all": selection.all, "dry_run": selection.dry_run });
    if !selection.ids.is_empty() {
        body["ids"] = json!(selection.ids);
    }
    if let Some(queue) = &selection.filter.queue {
        body["queue"] = json!(queue);
    }
    if let Some(event_type) = &selection.filter.r#type {
        body["type"] = json!(event_type);
    }
    if let Some(reason) = &selection.filter.reason {
        body["reason"] = json!(reason);
    }
    if let Some(age) = selection.filter.older_than {
        body["older_than"] = json!(age.as_secs());
    }
    let path = format!("/v1/admin/dead-letters/{action}");
    if let Some(rate) = rate.filter(|_| !selection.dry_run) {
        let settled = settle_slowly(client, &path, body, rate).await?;
        print(&format!("{settled} {done}"))?;
        return Ok(OK);
    }
    let outcome: SettledDeadLetters = client.post(&path, &body).await?;
    if selection.dry_run {
        print(&format!("{} would be {done}", outcome.matched))?;
    } else {
        print(&format!("{} {done}", outcome.settled))?;
    }
    Ok(OK)
}

/// Settles `rate` dead letters a second, and no more than matched at first: some may fail again
/// and return during that time.
async fn settle_slowly(
    client: &Client,
    path: &str,
    mut body: Value,
    rate: u16,
) -> anyhow::Result<i64> {
    body["dry_run"] = true.into();
    let mut left = client.post::<SettledDeadLetters>(path, &body).await?.matched;
    body["dry_run"] = false.into();
    let (mut settled, mut second) = (0, tokio::time::interval(Duration::from_secs(1)));
    while left > 0 {
        second.tick().await;
        body["limit"] = left.min(rate.into()).into();
        let some = client.post::<SettledDeadLetters>(path, &body).await?.settled;
        settled += some;
        left -= some;
        if some == 0 {
            break;
        }
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use axum::routing::post;
    use axum::{Json, Router};
    use chrono::DateTime;
    use shared::id::EventId;
    use testkit::{serve, within};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn slow_redrive_sends_its_rate_once_a_second() {
        // The limit and the time of each request after the first, which only counts.
        let received = Arc::new(Mutex::new(Vec::new()));
        let redrive = {
            let received = Arc::clone(&received);
            move |Json(sent): Json<Value>| async move {
                if sent["dry_run"] == true {
                    return Json(json!({"matched": 5, "settled": 0, "dry_run": true}));
                }
                // Real time: a slow machine sends later, never earlier.
                let at = Instant::now();
                received.lock().unwrap().push((sent["limit"].clone(), at));
                Json(json!({"matched": 5, "settled": sent["limit"], "dry_run": false}))
            }
        };
        let path = "/redrive";
        let router = Router::new().route(path, post(redrive));
        let client = Client::new(&serve(router).await).unwrap();
        // Real time: see above.
        let begun = Instant::now();
        let settling = settle_slowly(&client, path, json!({"all": true}), 2);
        assert_eq!(within("the end of the redrive", settling).await.unwrap(), 5);
        let received = received.lock().unwrap();
        let limits: Vec<&Value> = received.iter().map(|(limit, _)| limit).collect();
        assert_eq!(limits, [2, 2, 1]);
        for (seconds, (_, at)) in (0..).zip(&*received) {
            assert!(*at - begun >= Duration::from_secs(seconds), "{received:?}");
        }
    }

    #[tokio::test]
    async fn slow_redrive_ends_when_another_operator_settled_the_rest() {
        let requests = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&requests);
        let redrive = move |Json(sent): Json<Value>| async move {
            let mut requests = counted.lock().unwrap();
            *requests += 1;
            let settled = if *requests == 2 { 2 } else { 0 };
            Json(json!({"matched": 5, "settled": settled, "dry_run": sent["dry_run"]}))
        };
        let router = Router::new().route("/redrive", post(redrive));
        let client = Client::new(&serve(router).await).unwrap();
        let settling = settle_slowly(&client, "/redrive", json!({"all": true}), 2);
        assert_eq!(within("the end of the redrive", settling).await.unwrap(), 2);
        // One that counts, one that redrives, and one that finds nothing left.
        assert_eq!(*requests.lock().unwrap(), 3);
    }

    #[test]
    fn list_shows_each_field_in_its_column() {
        let letter = DeadLetter {
            id: 41,
            queue: "catalog".to_owned(),
            event_id: EventId::from_u128(1),
            event_type: "StockChanged".to_owned(),
            subject: Uuid::from_u128(2),
            reason: "unreadable".to_owned(),
            attempts: 3,
            sent_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            dead_at: DateTime::from_timestamp(1_790_000_062, 0).unwrap(),
        };
        let shown = table(&[letter]).to_string();
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = [
            "41",
            "2026-09-21T14:14:22Z",
            "StockChanged",
            "00000000-0000-0000-0000-000000000002",
            "3",
            "unreadable",
            "catalog",
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn age_is_a_number_with_a_unit() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("2h", 7_200),
            ("7d", 604_800),
            ("0s", 0),
            ("4294967295", 4_294_967_295),
        ] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let wrong = ["", "m", "-1s", "1w", "1.5h", "15mm", "2hd", "4294967296", "99999999999999d"];
        for wrong in wrong {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
