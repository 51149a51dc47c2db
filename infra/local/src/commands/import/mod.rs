//! `vitrina import`: creates products from a CSV file, through the same API as any client.
//!
//! Promise: every row is created once, or is in the report with its faults. Running an interrupted
//! import again finishes it.

mod chunks;
mod columns;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod price;
mod records;
mod report;
mod row;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::http::Method;
use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser as _};
use futures::stream::{self, Stream, StreamExt as _};
use inventory::{ItemResult, ProductView};
use shared::config::{Secret, Settings};
use shared::http::page::Page;
use shared::money::Currency;
use tokio::sync::mpsc;

use crate::client::batch::{self, CONCURRENCY};
use crate::client::demo_user::{self, DemoUser};
use crate::client::{Client, ClientError};
use crate::console::exit::{FAILED, OK};
use crate::console::global::Global;
use crate::console::output::{Output, OutputArgs};
use crate::console::output::{print, say};
use crate::console::progress::{Progress, Style, Unit};
use crate::edition::data_folder::{DataFolder, Running};
use crate::edition::parts::identity::IDENTITY;
use chunks::{Chunk, Chunks};
use columns::{Columns, Mapping};
use records::Records;
use report::Report;
use row::{Row, RowFault};

pub(crate) const HELP: &str = "\
The first line names the columns. Required are sku, name, category, and price or
price_amount. Optional are description, currency, on_hand, status and attr:NAME.
The file must be UTF-8, with cells separated by commas or semicolons.

Write a price as 129,90 or 129.90, with at most as many decimals as its currency
has and no thousands separator. price_amount is in minor units (12990).
Attributes are imported as text.

An invalid row does not affect the others. Run the same import again to create
what is missing: existing products that match the file are skipped, and products
that differ are reported (sku_taken).";

#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// CSV file to import
    file: PathBuf,
    /// Only check the file; needs no running edition
    #[arg(long)]
    dry_run: bool,
    /// Field of a column, such as attr:NAME or ignore; can be repeated
    #[arg(long, value_name = "COLUMN=FIELD")]
    map: Vec<Mapping>,
    /// Currency of rows without one [default: that of the edition]
    #[arg(long, env = "VITRINA_CURRENCY", value_name = "CODE")]
    currency: Option<Currency>,
    /// Email address of the seller [default: the demo seller]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "token")]
    seller_email: Option<String>,
    /// Password of the seller [default: that of the demo users]
    #[arg(long, env = "VITRINA_PASSWORD", hide_env_values = true, value_parser = StringValueParser::new().map(Secret::new))]
    password: Option<Secret<String>>,
    /// Token of the seller, in place of a login; must outlast the import
    #[arg(long, value_parser = StringValueParser::new().map(Secret::new))]
    token: Option<Secret<String>>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(global: &Global, args: ImportArgs) -> anyhow::Result<u8> {
    let style = Style::read(&Settings::from_env());
    let begun = Instant::now();
    let name = args.file.display().to_string();
    let (seller, currency) = if args.dry_run {
        (None, args.currency.or_else(|| currency_of_edition(&global.data)))
    } else {
        let folder = DataFolder::at(&global.data)?;
        let running = folder.find_running()?;
        let seller = seller(&folder, &running, &args).await?;
        (Some(seller), args.currency.or(Some(running.currency)))
    };
    let file = File::open(&args.file).with_context(|| format!("opening {name}"))?;
    let size = file.metadata().with_context(|| format!("opening {name}"))?.len();
    let mut records = Records::new(file).with_context(|| name.clone())?;
    let header = records.next().with_context(|| name.clone())?;
    let header = header.with_context(|| format!("{name} is empty"))?;
    let columns = Columns::read(&header.cells, &args.map).with_context(|| name.clone())?;

    let columns = Arc::new(columns);
    let currency = currency.unwrap_or_default();
    let chunks = Chunks::new(records, Arc::clone(&columns), currency, args.dry_run);
    let what = if args.dry_run { "checking" } else { "importing" };
    let progress = Progress::begin(style, what, size, Unit::Bytes);
    progress.add(header.end);
    let report = Report::new(args.dry_run);
    let mut report = work(chunks, seller.as_ref(), &columns, report, &progress).await;
    drop(progress);
    report.took = begun.elapsed();
    let printed = match args.output.output {
        Output::Text => print(&report.text()),
        Output::Json => print(&serde_json::to_string_pretty(&report)?),
    };
    if let Some(stopped) = &report.stopped {
        say(&format!("vitrina: {name}: {stopped}"));
    }
    printed?;
    Ok(if report.is_good() { OK } else { FAILED })
}

/// The currency of the edition that runs on `data`, if one does.
fn currency_of_edition(data: &Path) -> Option<Currency> {
    let running = DataFolder::at(data).ok()?.find_running().ok()?;
    Some(running.currency)
}

async fn seller(
    folder: &DataFolder,
    running: &Running,
    args: &ImportArgs,
) -> anyhow::Result<Client> {
    let client = Client::new(&running.url)?;
    if let Some(token) = &args.token {
        return Ok(client.with_token(token.clone()));
    }
    if args.seller_email.is_none() && args.password.is_none() {
        return demo_user::sign_for(folder, running, DemoUser::Seller);
    }
    folder.find_running_with(IDENTITY)?;
    let email = args.seller_email.as_deref().unwrap_or_else(|| DemoUser::Seller.email());
    let password = match &args.password {
        Some(password) => password.clone(),
        None => folder.demo_password()?,
    };
    Ok(client.log_in(email, &password).await?)
}

/// Reads on one thread, sends several batches at a time, and reports in the order of the file.
async fn work(
    chunks: Chunks<File>,
    seller: Option<&Client>,
    columns: &Columns,
    mut report: Report,
    progress: &Progress,
) -> Report {
    let (sender, receiver) = mpsc::channel(CONCURRENCY);
    let reading = tokio::task::spawn_blocking(move || chunks.send(&sender));
    let mut done = Box::pin(
        received(receiver)
            .map(|chunk| async {
                let chunk = chunk.map_err(|fault| shared::telemetry::causes(&fault))?;
                send(chunk, seller, columns)
                    .await
                    .map_err(|error| shared::telemetry::causes(&error))
            })
            .buffered(CONCURRENCY),
    );
    while let Some(chunk) = done.next().await {
        match chunk {
            Ok(done) => {
                report.rows += done.chunk.count;
                report.failed += done.chunk.bad;
                report.created += done.created;
                report.already_there += done.already_there;
                report.add_faults(done.chunk.faults);
                progress.add(done.chunk.bytes);
            }
            Err(stopped) => {
                report.stopped = Some(stopped);
                break;
            }
        }
    }
    // Dropping the receiver ends the reader.
    drop(done);
    if reading.await.is_err() && report.stopped.is_none() {
        report.stopped = Some("reading the file failed".to_owned());
    }
    report
}

fn received<T>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// A chunk, with the results of its rows.
struct Done {
    chunk: Chunk,
    created: u64,
    already_there: u64,
}

async fn send(
    mut chunk: Chunk,
    seller: Option<&Client>,
    columns: &Columns,
) -> Result<Done, ClientError> {
    let (mut created, mut already_there) = (0, 0);
    let key = chunk.key();
    let rows = std::mem::take(&mut chunk.rows);
    if let Some(seller) = seller
        && !rows.is_empty()
    {
        let items: Vec<_> = rows.iter().map(|row| row.item.clone()).collect();
        let results = batch::create(seller, &key, &items).await?;
        for (row, result) in rows.iter().zip(results) {
            match (result.status, result.replayed) {
                (201, false) => created += 1,
                (201, true) => already_there += 1,
                (409, _) if exists(seller, row).await? => already_there += 1,
                _ => {
                    chunk.bad += 1;
                    chunk.faults.extend(refused(row, columns, result));
                }
            }
        }
        chunk.faults.sort_by_key(|fault| fault.line);
    }
    Ok(Done { chunk, created, already_there })
}

/// Whether the seller has the product that `row` describes.
async fn exists(seller: &Client, row: &Row) -> Result<bool, ClientError> {
    let call = seller.call(Method::GET, "/v1/products").query("sku", &row.sku);
    let page: Page<ProductView> = call.send().await?;
    Ok(page.data.iter().any(|product| row.matches(product)))
}

fn refused(row: &Row, columns: &Columns, result: ItemResult) -> Vec<RowFault> {
    let Some(problem) = result.problem else {
        let detail = format!("the status was {} without a problem document", result.status);
        return vec![row::fault(row.line, columns, "", "", &detail)];
    };
    if problem.errors.is_empty() {
        let pointer = if problem.code == "sku_taken" { "/sku" } else { "" };
        let detail = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
        return vec![row::fault(row.line, columns, pointer, &problem.code, detail)];
    }
    problem
        .errors
        .iter()
        .map(|error| row::fault(row.line, columns, &error.pointer, &error.code, &error.detail))
        .collect()
}

#[cfg(test)]
mod tests;
