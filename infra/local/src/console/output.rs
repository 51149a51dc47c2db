//! What a command prints: data to stdout, messages to stderr.

use anyhow::Context as _;

/// The format of a result: text for people, JSON for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Format of the result
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Prints a line of data to stdout.
///
/// Callers pass the error on: a script must not take incomplete output for a result.
pub fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    unless_closed(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
}

/// Ignores a closed pipe: its reader, such as `head`, has read enough.
pub(crate) fn unless_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Prints a message about the work to stderr.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The rows of a printed table, with single spaces.
#[cfg(test)]
pub(crate) fn rows(printed: &str) -> Vec<String> {
    let single_spaced = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
    printed.lines().map(single_spaced).collect()
}
