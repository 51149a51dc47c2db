//! `vitrina`: the local edition and its command line.

use std::process::ExitCode;

use vitrina::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::read()).await
}
