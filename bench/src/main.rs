//! The project's own performance harness: the measured system next to the ceilings of the machine
//! that it runs on.
//!
//! Promise: no figure stands alone. Each is a ratio to what the machine can do at best, measured in
//! the same run, turn by turn, and what is printed is what was seen.

#![expect(
    clippy::float_arithmetic,
    reason = "what is computed here was measured; nobody is owed it"
)]

mod bare;
mod chart;
mod cli;
mod dynamo;
mod edition;
mod goal;
mod goals;
mod load;
mod number;
mod pgbench;
mod product;
mod profiles;
mod progress;
mod reconciler;
mod report;
mod server;
mod setup;
mod snapshot;
mod soak;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        // What is measured runs in processes of its own, out of this same file.
        Some(server::EDITION) => server::run_edition(words).await,
        Some(server::RECONCILER) => server::exit_code(reconciler::run(words).await),
        Some(server::BARE) => server::exit_code(bare::run().await),
        _ => server::exit_code(cli::run(cli::Args::parse()).await),
    }
}
