//! How a command says its result.

use anyhow::Context as _;

/// For whom a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// People.
    #[default]
    Text,
    /// Machines.
    Json,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// How to write the result
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// A line of data, to stdout. What is not there must not look as if it were, in a script least of
/// all: whoever prints passes the error on.
pub fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    unless_closed(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
}

/// Whoever closed the pipe has read enough: that is no failure.
pub(crate) fn unless_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// A line about the work, to stderr.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
