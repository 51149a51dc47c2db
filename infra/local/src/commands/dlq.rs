//! `vitrina dlq`: dead letters are looked at, sent again or given up.

use std::time::Duration;

use axum::http::Method;
use clap::builder::NonEmptyStringValueParser;
use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
        which: Which,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one dead letter with its message
    Show { id: i64 },
    /// Put dead letters back into their queue
    Redrive {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many a second, so that whoever could not handle them is not flooded
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        rate: Option<u16>,
    },
    /// Give dead letters up for good
    Discard(Chosen),
}

/// Dead letters that fit everything that is said.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Which {
    /// The type of the event, such as `ProductUpdated`
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    r#type: Option<String>,
    /// Part of the reason
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// Dead for longer than this, such as 90s, 15m, 2h or 7d
    #[arg(long, value_parser = parse_age)]
    older_than: Option<Duration>,
}

#[derive(clap::Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("chosen").required(true).multiple(true)
    .args(["ids", "type", "reason", "older_than", "all"]))]
pub(crate) struct Chosen {
    /// Their numbers, as `dlq list` shows them
    ids: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// Every dead letter there is
    #[arg(long)]
    all: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    id: i64,
    queue: String,
    event_type: String,
    subject: String,
    attempts: i32,
    dead_at: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Letters {
    data: Vec<Letter>,
    page: PageInfo,
}

#[derive(Debug, Deserialize)]
struct PageInfo {
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    matched: i64,
    settled: i64,
}

/// A number of seconds, minutes, hours or days.
fn parse_age(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().filter(char::is_ascii_alphabetic);
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
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
        DlqCommand::List { which, output } => list(&client, &which, output.output).await,
        DlqCommand::Show { id } => {
            let letter: Value = client.get(&format!("/v1/admin/dead-letters/{id}")).await?;
            print(&serde_json::to_string_pretty(&letter)?)?;
            Ok(OK)
        }
        DlqCommand::Redrive { chosen, rate } => {
            settle(&client, "redrive", "redriven", &chosen, rate).await
        }
        DlqCommand::Discard(chosen) => settle(&client, "discard", "discarded", &chosen, None).await,
    }
}

/// Exits with [`FOUND`] if there are any.
async fn list(client: &Client, which: &Which, output: Output) -> anyhow::Result<u8> {
    let mut letters = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut call = client.call(Method::GET, "/v1/admin/dead-letters").query("limit", "100");
        if let Some(event_type) = &which.r#type {
            call = call.query("type", event_type);
        }
        if let Some(reason) = &which.reason {
            call = call.query("reason", reason);
        }
        if let Some(age) = which.older_than {
            call = call.query("older_than", &age.as_secs().to_string());
        }
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page: Letters = call.send().await?;
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

fn table(letters: &[Letter]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "dead since", "type", "product", "attempts", "reason"]);
    for letter in letters {
        table.add_row([
            &letter.id.to_string(),
            &letter.dead_at,
            &letter.event_type,
            &letter.subject,
            &letter.attempts.to_string(),
            &letter.reason,
        ]);
    }
    table
}

async fn settle(
    client: &Client,
    action: &str,
    done: &str,
    chosen: &Chosen,
    rate: Option<u16>,
) -> anyhow::Result<u8> {
    let mut body = json!({ "all": chosen.all, "dry_run": chosen.dry_run });
    if !chosen.ids.is_empty() {
        body["ids"] = json!(chosen.ids);
    }
    if let Some(event_type) = &chosen.which.r#type {
        body["type"] = json!(event_type);
    }
    if let Some(reason) = &chosen.which.reason {
        body["reason"] = json!(reason);
    }
    if let Some(age) = chosen.which.older_than {
        body["older_than"] = json!(age.as_secs());
    }
    let path = format!("/v1/admin/dead-letters/{action}");
    if let Some(rate) = rate.filter(|_| !chosen.dry_run) {
        let settled = settle_slowly(client, &path, body, rate).await?;
        print(&format!("{settled} {done}"))?;
        return Ok(OK);
    }
    let outcome: Outcome = client.post(&path, &body).await?;
    if chosen.dry_run {
        print(&format!("{} would be {done}", outcome.matched))?;
    } else {
        print(&format!("{} {done}", outcome.settled))?;
    }
    Ok(OK)
}

/// Settles `rate` dead letters a second, and as many as there were at the beginning: some may come
/// back meanwhile.
async fn settle_slowly(
    client: &Client,
    path: &str,
    mut body: Value,
    rate: u16,
) -> anyhow::Result<i64> {
    body["dry_run"] = true.into();
    let mut left = client.post::<Outcome>(path, &body).await?.matched;
    body["dry_run"] = false.into();
    let (mut settled, mut second) = (0, tokio::time::interval(Duration::from_secs(1)));
    while left > 0 {
        second.tick().await;
        body["limit"] = left.min(rate.into()).into();
        let some = client.post::<Outcome>(path, &body).await?.settled;
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
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        assert_eq!(parse_age("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_age("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(parse_age("7d"), Ok(Duration::from_hours(7 * 24)));
        for wrong in ["", "m", "-1s", "1w", "1.5h", "99999999999999d"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
