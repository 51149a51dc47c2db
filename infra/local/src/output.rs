//! How a command says its result.

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
