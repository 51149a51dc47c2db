//! `cargo xtask`: checks for development, and commands that verify each promise of the project.

mod certainty;
mod check;
mod fuzz;
mod language;
mod mutants;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development checks, and commands that verify the promises of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify the promises of the project one by one; without an id, list them
    Certainty(certainty::Args),
    /// Check what has changed: format, language, lints and the affected tests
    Check(check::Args),
    /// Run the coverage-guided fuzzer on the decoders of external input
    Fuzz(fuzz::Args),
    /// Find words and test names that the language rules forbid
    Language,
    /// Plant faults in a copy of the code, one at a time, and check that a test catches each
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Certainty(args) => certainty::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Language => language::run(),
        Command::Mutants(args) => mutants::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line of the result to stdout.
fn print(line: &str) {
    use std::io::Write as _;
    // A reader that closes the pipe early, such as `head`, is no failure.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line about progress to stderr.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
