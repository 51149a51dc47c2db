//! The command line: its commands and arguments, and how a result becomes an exit code.

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use shared::config::Settings;

use super::up::UpArgs;
use super::{dlq, doctor, import, load, seed, status, sync, token, trace, up};
use crate::client::demo_user::DemoUser;
use crate::console::exit::{FAILED, NOT_RUNNING, OK};
use crate::console::global::{Global, Sources};
use crate::console::output::{print, say, unless_closed};
use crate::edition::data_folder::DataError;
use crate::{asyncapi, edition};

/// A marketplace backend: sellers manage products, buyers browse a catalogue
#[derive(Debug, Parser)]
#[command(name = "vitrina", version, about, after_help = "Without a command, `vitrina` runs `up`.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

impl Cli {
    /// Reads the arguments of this process, and ends it if they are invalid.
    pub fn read() -> Self {
        let mut command = without_empty_variables(Self::command(), &Settings::from_env());
        let matches = command.clone().try_get_matches().unwrap_or_else(|error| end(&error));
        if let Some(flag) = misplaced(&matches) {
            let message = format!("--{flag} is an option of `up` and must follow it");
            command.error(ErrorKind::ArgumentConflict, message).exit();
        }
        let read = Self::from_arg_matches(&matches);
        let mut cli = read.unwrap_or_else(|error| error.format(&mut command).exit());
        cli.global.sources = Sources::of(&matches);
        cli
    }
}

/// The arguments of `command` without their empty environment variables. An empty setting counts as
/// absent, but clap would read the empty text as a value.
fn without_empty_variables(command: clap::Command, settings: &Settings) -> clap::Command {
    let command = command.mut_args(|argument| {
        let name = argument.get_env().and_then(|name| name.to_str());
        if name.is_some_and(|name| settings.has_empty(name)) {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    });
    command.mut_subcommands(|command| without_empty_variables(command, settings))
}

/// Ends the process with the message of clap: a usage error, or the requested help.
fn end(message: &clap::Error) -> ! {
    let code = match unless_closed(message.print()) {
        Err(error) if !message.use_stderr() => {
            say(&format!("vitrina: {error:#}"));
            FAILED.into()
        }
        _ => message.exit_code(),
    };
    std::process::exit(code)
}

/// A flag of `up` before another command, which would otherwise be ignored without an error.
fn misplaced(matches: &ArgMatches) -> Option<&'static str> {
    matches.subcommand()?;
    ["listen", "roles", "currency"]
        .into_iter()
        .find(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the edition: services and stores in one process
    Up(UpArgs),
    /// Create demo products through the API
    #[command(after_help = "Each run adds new products.")]
    Seed(seed::SeedArgs),
    /// Send requests at a fixed rate and report latencies
    #[command(after_help = "Exits with 1 if a request was refused.")]
    Load(load::LoadArgs),
    /// Create products from a CSV file through the API
    #[command(after_help = import::HELP)]
    Import(import::ImportArgs),
    /// Check this machine and the data folder, and suggest fixes
    #[command(after_help = "Exits with 1 if a check failed. Warnings do not count.")]
    Doctor(doctor::DoctorArgs),
    /// Print a bearer token for a demo user
    Token {
        /// The demo user
        role: DemoUser,
    },
    /// Compare products with listings and repair differences
    #[command(after_help = "Exits with 3 if differences were found.")]
    Sync(sync::SyncArgs),
    /// Show the delay of the catalogue, pending work and dead letters
    #[command(after_help = "Exits with 3 if there are dead letters.")]
    Status(status::StatusArgs),
    /// Show the path of a change from the request to the catalogue
    Trace(trace::TraceArgs),
    /// List, show, redrive or discard dead letters
    Dlq(dlq::DlqArgs),
    /// Print the OpenAPI 3.1 description of the API
    Openapi,
    /// Print the AsyncAPI 3.0 description of the events
    Asyncapi,
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command and returns its exit code.
pub async fn run(cli: Cli) -> ExitCode {
    let Cli { global, command, up } = cli;
    let result = match command {
        None => up::run(&global, up).await,
        Some(Command::Up(up)) => up::run(&global, up).await,
        Some(Command::Seed(args)) => seed::run(&global, args).await,
        Some(Command::Load(args)) => load::run(&global, args).await,
        Some(Command::Import(args)) => import::run(&global, args).await,
        Some(Command::Doctor(args)) => doctor::run(&global, args).await,
        Some(Command::Token { role }) => token::run(&global, role).await,
        Some(Command::Sync(args)) => sync::run(&global, args).await,
        Some(Command::Status(args)) => status::run(&global, args).await,
        Some(Command::Trace(args)) => trace::run(&global, args).await,
        Some(Command::Dlq(args)) => dlq::run(&global, args).await,
        Some(Command::Openapi) => print_json(&edition::openapi()),
        Some(Command::Asyncapi) => print_json(&asyncapi::document()),
        Some(Command::Completion { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vitrina", &mut script);
            print(String::from_utf8_lossy(&script).trim_end()).map(|()| OK)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("vitrina: {error:#}"));
            let not_running = error
                .downcast_ref::<DataError>()
                .is_some_and(|error| matches!(error, DataError::NotRunning(_)));
            ExitCode::from(if not_running { NOT_RUNNING } else { FAILED })
        }
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<u8> {
    print(&serde_json::to_string_pretty(value)?)?;
    Ok(OK)
}
