//! `vitrina`: the local edition and its command line.

use std::process::ExitCode;

use vitrina::commands::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    commands::run(Cli::read()).await
}
