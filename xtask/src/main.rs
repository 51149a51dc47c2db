//! `cargo xtask`: how each promise is shown to be kept, for whoever does not take our word for it.

mod certainty;
mod check;
mod fuzz;
mod language;
mod mutants;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is done now and then, and what shows that a promise is kept.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show that the promises are kept, one by one: without a name, say what there is to show
    Certainty(certainty::Args),
    /// Check what has changed: format, language, lints and the tests that it needs
    Check(check::Args),
    /// Make what reads from outside read anything, and see whether it holds
    Fuzz(fuzz::Args),
    /// Find words and test names that the language rules forbid
    Language,
    /// Plant faults into a copy of the code, one after the other: a test must catch each
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Certainty(args) => certainty::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Language => language::run(),
        Command::Mutants(args) => mutants::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the result, to stdout.
fn print(line: &str) {
    use std::io::Write as _;
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about the work, to stderr.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
