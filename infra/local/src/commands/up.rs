//! `vitrina up`: starts the edition, prints where it listens, and stops it cleanly.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use anyhow::Context as _;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use identity::demo::DemoUser;
use shared::config::{ConfigError, Secret, Settings};
use shared::host::metrics_recorder;
use shared::http::auth::AuthConfig;
use shared::http::rate_limit::RateLimitConfig;
use shared::money::Currency;
use shared::telemetry::{self, TelemetryConfig};

use crate::console::exit::{FAILED, OK};
use crate::console::global::Global;
use crate::console::output::{print, say};
use crate::edition::database::Source;
use crate::edition::parts::Parts;
use crate::edition::parts::identity::IDENTITY;
use crate::edition::{Edition, Options};

#[derive(Args, Clone, Debug)]
pub(crate) struct UpArgs {
    /// Address and port to listen on
    #[arg(long, env = "VITRINA_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    #[arg(long, env = "VITRINA_ROLES", default_value = "all", help = parts_help())]
    pub roles: Parts,
    /// Currency of prices for readers that choose none
    #[arg(long, env = "VITRINA_CURRENCY", default_value_t)]
    pub currency: Currency,
}

pub(crate) const DEFAULT_CONNECTIONS: u32 = 16;

fn parts_help() -> String {
    format!("What to run: `all`, or a comma-separated list of {}", Parts::all().list())
}

/// The local store warns of every response that is not 200, even of a refused condition. Its callers
/// log what matters.
pub(crate) const DEFAULT_LOG: &str = "warn,dynoxide::server=error,vitrina=info,identity=info";

/// The settings of `up` in the environment.
#[derive(Debug)]
pub(crate) struct Environment {
    logs: TelemetryConfig,
    auth: Option<AuthConfig>,
    connections: u32,
    rate_limit: RateLimitConfig,
    database: Source,
}

impl Environment {
    /// Reads `DATABASE_URL`, `VITRINA_POSTGRES_BIN`, `PATH`, `VITRINA_DATABASE_CONNECTIONS`, the
    /// settings of [`RateLimitConfig::read`] and [`TelemetryConfig::read`], and those of
    /// [`AuthConfig::read`] if an issuer is set.
    pub(crate) fn read(mut settings: Settings) -> Result<Self, ConfigError> {
        let logs =
            TelemetryConfig::read(&mut settings, std::io::stderr().is_terminal(), DEFAULT_LOG);
        let auth = settings.text("VITRINA_AUTH_ISSUER").is_some();
        let auth = auth.then(|| AuthConfig::read(&mut settings));
        let connections = settings.optional("VITRINA_DATABASE_CONNECTIONS");
        let connections = connections.map_or(DEFAULT_CONNECTIONS, NonZeroU32::get);
        let rate_limit = RateLimitConfig::read(&mut settings);
        let environment =
            Self { logs, auth, connections, rate_limit, database: Self::database(&settings) };
        settings.finish(environment)
    }

    /// The source of the database.
    pub(crate) fn database(settings: &Settings) -> Source {
        match settings.text("DATABASE_URL") {
            Some(url) => Source::Url(Secret::new(url.to_owned())),
            None => Source::private(settings.text("VITRINA_POSTGRES_BIN"), settings.text("PATH")),
        }
    }
}

pub(crate) async fn run(global: &Global, args: UpArgs) -> anyhow::Result<u8> {
    let Environment { logs, auth, connections, rate_limit, database } =
        Environment::read(Settings::from_env())?;
    let telemetry = telemetry::init(&logs)?;
    metrics_recorder::recorder();
    let stop = shared::host::stop_on_signal().context("listening for signals")?;

    let parts = args.roles.clone();
    let options = Options {
        listen: args.listen,
        data: global.data.clone(),
        parts: args.roles,
        database,
        auth,
        currency: args.currency,
        connections,
        rate_limit,
    };
    let mut edition = tokio::select! {
        edition = Edition::start(options) => edition?,
        // Dropping half-started stores ends them. The next start resumes what they had begun.
        () = stop.cancelled() => return Ok(OK),
    };
    let announced = print_ready(&edition, &parts);
    if let Err(error) = &announced {
        // It serves all the same. The exit code reports the failure.
        say(&format!("vitrina: {error:#}"));
    }
    let code = tokio::select! {
        () = stop.cancelled() => OK,
        () = edition.failed() => FAILED,
    };
    say("stopping");
    edition.stop().await;
    telemetry.flush();
    Ok(if announced.is_ok() { code } else { FAILED })
}

fn print_ready(edition: &Edition, parts: &Parts) -> anyhow::Result<()> {
    print(&format!("ready {}", edition.url))?;
    print(&table(edition, parts)?.to_string())
}

/// Addresses, folders and logins of the edition.
fn table(edition: &Edition, parts: &Parts) -> anyhow::Result<Table> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let url = &edition.url;
    table.add_row(["API", &format!("{url}/v1/catalog/products")]);
    table.add_row(["Docs", &format!("{url}/docs")]);
    table.add_row(["Data", &edition.folder.path().display().to_string()]);
    table.add_row(["", &edition.database]);
    if !parts.has(IDENTITY) {
        table.add_row(["Roles", &parts.to_string()]);
        return Ok(table);
    }
    let password = edition.folder.demo_password()?;
    for DemoUser { email, has_given_password, .. } in &edition.demo_users {
        let role = email.split('@').next().unwrap_or_default();
        let login = if *has_given_password {
            format!("{email}, password {}", password.expose())
        } else {
            format!("{email}, with a password that is not in this folder")
        };
        table.add_row([&format!("Demo {role}"), &login]);
    }
    if edition.demo_users.iter().any(|user| !user.has_given_password) {
        let file = edition.folder.demo_password_file();
        let remedy = format!(
            "Copy the demo-password file of the folder that created them to {}, or reset their \
             passwords with POST /v1/auth/password/forgot: the code is mailed to {}",
            file.display(),
            edition.folder.mail().display(),
        );
        table.add_row(["", &remedy]);
    }
    table.add_row(["Try", "vitrina token seller     (in another terminal, same --data)"]);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, ConfigError> {
        Environment::read(Settings::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn environment_of_an_edition_is_read() {
        let unset = read(&[]).unwrap();
        assert!(matches!(unset.database, Source::Private(_)), "{:?}", unset.database);
        assert!(unset.auth.is_none());
        assert_eq!(unset.connections, 16);
        assert_eq!(unset.rate_limit.per_second.map(NonZeroU32::get), Some(1_000));

        let url = "postgresql://127.0.0.1/shop";
        let set = read(&[
            ("DATABASE_URL", url),
            ("VITRINA_DATABASE_CONNECTIONS", "4"),
            ("VITRINA_RATE_LIMIT", "7"),
            ("VITRINA_TRUSTED_PROXIES", "2"),
            ("VITRINA_AUTH_ISSUER", "https://issuer.example"),
            ("VITRINA_AUTH_AUDIENCE", "shop"),
        ]);
        let set = set.unwrap();
        assert!(matches!(&set.database, Source::Url(it) if it.expose() == url));
        let auth = set.auth.unwrap();
        assert_eq!(
            (auth.issuer.as_str(), auth.audience.as_str()),
            ("https://issuer.example", "shop")
        );
        assert_eq!(set.connections, 4);
        assert_eq!(set.rate_limit.per_second.map(NonZeroU32::get), Some(7));
        assert_eq!(set.rate_limit.trusted_proxies, 2);
    }

    #[test]
    fn number_of_connections_is_at_least_one() {
        for wrong in ["0", "-1", "many"] {
            let refused = read(&[("VITRINA_DATABASE_CONNECTIONS", wrong)]).unwrap_err();
            let refused = refused.to_string();
            assert!(refused.contains("VITRINA_DATABASE_CONNECTIONS is wrong"), "{refused}");
        }
    }
}
