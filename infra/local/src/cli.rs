//! The command line: what there is, and what its exit codes mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use shared::money::Currency;

use crate::roles::Roles;
use crate::{
    asyncapi, dlq, doctor, edition, import, load, reconcile, seed, status, token, trace, up,
};

/// It did what it was asked to.
pub const OK: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
// 2, wrong usage, is clap's own.
/// Differences or dead letters were found.
pub const FOUND: u8 = 3;
/// No edition runs on the data folder.
pub const NOT_RUNNING: u8 = 4;

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

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The data folder of the edition
    #[arg(long, global = true, env = "VITRINA_DATA", default_value = ".vitrina")]
    pub data: PathBuf,
    #[arg(skip)]
    pub sources: Sources,
}

/// Where the values of arguments come from.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, &'static str>);

impl Sources {
    fn of(matches: &ArgMatches) -> Self {
        // Global arguments are in the matches of the command, too.
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        let source = |id: &str| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let ids = matches.ids().map(clap::Id::as_str);
        // Of a group of arguments there is no one source.
        let arguments = ids.filter(|id| matches.try_contains_id(id).unwrap_or(false));
        Self(arguments.map(|id| (id.to_owned(), source(id))).collect())
    }

    /// `flag`, `environment` or `default`.
    pub fn of_argument(&self, id: &str) -> &'static str {
        self.0.get(id).copied().unwrap_or("default")
    }
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

#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Where to listen
    #[arg(long, env = "VITRINA_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// What to run: all, or some of inventory, relay, catalog, projector, identity, sync, by commas
    #[arg(long, env = "VITRINA_ROLES", default_value = "all")]
    pub roles: Roles,
    /// What prices are in unless a reader says otherwise
    #[arg(long, env = "VITRINA_CURRENCY", default_value_t)]
    pub currency: Currency,
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
        role: token::DemoUser,
    },
    /// Compare products and listings, and have mended what differs
    #[command(after_help = "Exits with 3 if anything differed.")]
    Sync(reconcile::SyncArgs),
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
        Some(Command::Sync(args)) => reconcile::run(&global, args).await,
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
                .downcast_ref::<crate::data::DataError>()
                .is_some_and(|error| matches!(error, crate::data::DataError::NotRunning(_)));
            ExitCode::from(if not_running { NOT_RUNNING } else { FAILED })
        }
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<u8> {
    print(&serde_json::to_string_pretty(value)?)?;
    Ok(OK)
}

/// A line of data, to stdout. What is not there must not look as if it were, in a script least of
/// all: whoever prints passes the error on.
pub fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    unless_closed(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
}

/// Whoever closed the pipe has read enough: that is no failure.
fn unless_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
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
