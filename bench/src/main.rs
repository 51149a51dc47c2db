//! The benchmarks: the system next to the ceilings of the machine that it runs on.
//!
//! Promise: a rate is judged by its ratio to a ceiling of the same machine. Each round measures the
//! ceiling and the system, one right after the other.

#![expect(
    clippy::float_arithmetic,
    reason = "float arithmetic on measurements; exactness is not needed"
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
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        // The measured parts run as child processes of this same binary.
        Some(server::EDITION) => server::run_edition(arguments).await,
        Some(server::RECONCILER) => server::exit_code(reconciler::run(arguments).await),
        Some(server::BARE) => server::exit_code(bare::run().await),
        _ => server::exit_code(cli::run(cli::Args::parse()).await),
    }
}
