//! The command line: what there is, and what its exit codes mean.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use super::up::UpArgs;
use super::{dlq, doctor, import, load, seed, status, sync, token, trace, up};
use crate::client::demo_user::DemoUser;
use crate::console::exit::{FAILED, NOT_RUNNING, OK};
use crate::console::global::{Global, Sources};
use crate::console::output::{print, say, unless_closed};
use crate::edition::data_folder::DataError;
use crate::{asyncapi, edition};

/// A marketplace backend: sellers write products, buyers read a catalogue that is never wrong for
/// long.
#[derive(Debug, Parser)]
#[command(name = "vitrina", version, about, after_help = "Without a command, `up` is run.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

impl Cli {
    /// Reads the arguments of this process; ends it where they are wrong.
    pub fn read() -> Self {
        let matches = Self::command().try_get_matches().unwrap_or_else(|error| end(&error));
        if let Some(flag) = misplaced(&matches) {
            let message = format!("--{flag} belongs behind `up`");
            Self::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        let read = Self::from_arg_matches(&matches);
        let mut cli = read.unwrap_or_else(|error| error.format(&mut Self::command()).exit());
        cli.global.sources = Sources::of(&matches);
        cli
    }
}

/// Ends the process with what clap has to say: of a mistake, or the help that was asked for.
fn end(said: &clap::Error) -> ! {
    let code = match unless_closed(said.print()) {
        Err(error) if !said.use_stderr() => {
            say(&format!("vitrina: {error:#}"));
            FAILED.into()
        }
        _ => said.exit_code(),
    };
    std::process::exit(code)
}

/// A flag of `up` in front of another command, which would be read and forgotten.
fn misplaced(matches: &ArgMatches) -> Option<&'static str> {
    matches.subcommand()?;
    ["listen", "roles", "currency"]
        .into_iter()
        .find(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything in one process
    Up(UpArgs),
    /// Fill the running edition with demo products, through its API
    #[command(after_help = "Run it again to add as many again.")]
    Seed(seed::SeedArgs),
    /// Ask the running edition at a fixed rate, and say how it held
    #[command(after_help = "Exits with 1 if anything was refused.")]
    Load(load::LoadArgs),
    /// Create products out of a CSV file, through the API of the running edition
    #[command(after_help = import::HELP)]
    Import(import::ImportArgs),
    /// Look for what keeps an edition from running well here, and say what to do about it
    #[command(
        after_help = "Exits with 0 if nothing failed, with or without warnings, and else with 1."
    )]
    Doctor(doctor::DoctorArgs),
    /// Print a bearer token of a demo user
    Token {
        /// Whose
        role: DemoUser,
    },
    /// Compare products and listings, and have mended what differs
    #[command(after_help = "Exits with 3 if anything differed.")]
    Sync(sync::SyncArgs),
    /// Show how far behind the catalogue is, and what waits for somebody
    #[command(after_help = "Exits with 3 if there are dead letters.")]
    Status(status::StatusArgs),
    /// Show the way of a change, hop by hop
    Trace(trace::TraceArgs),
    /// Look at dead letters, send them again, or give them up
    Dlq(dlq::DlqArgs),
    /// Print the description of the API (OpenAPI 3.1)
    Openapi,
    /// Print the description of the events (AsyncAPI 3.0)
    Asyncapi,
    /// Print a completion script for a shell
    Completion { shell: Shell },
}

/// Runs the command that `cli` names.
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
