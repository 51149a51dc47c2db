//! `vitrina up`: starts everything, says where it is, and stops it cleanly.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use identity::demo::DemoUser;
use shared::config::{ConfigError, Secret, Settings};
use shared::host::metrics_recorder;
use shared::http::auth::AuthConfig;
use shared::http::rate_limit::RateLimitConfig;
use shared::telemetry::{self, TelemetryConfig};

use crate::cli::{FAILED, Global, OK, UpArgs, print, say};
use crate::database::Source;
use crate::edition::{Edition, Options};
use crate::roles::{Role, Roles};

pub(crate) const DEFAULT_CONNECTIONS: u32 = 16;

/// The local store warns of every answer that is not 200, a refused condition among them: whoever asked
/// says what that means.
pub(crate) const DEFAULT_LOG: &str = "warn,dynoxide::server=error,vitrina=info,identity=info";

/// What the environment says to `up`.
#[derive(Debug)]
pub(crate) struct Environment {
    logs: TelemetryConfig,
    auth: Option<AuthConfig>,
    connections: u32,
    rate_limit: RateLimitConfig,
    database: Source,
}

impl Environment {
    /// `DATABASE_URL`, `VITRINA_POSTGRES_BIN`, `PATH`, `VITRINA_DATABASE_CONNECTIONS`, those of
    /// [`RateLimitConfig::read`] and [`TelemetryConfig::read`], and those of [`AuthConfig::read`]
    /// where there is an issuer.
    pub(crate) fn read(mut settings: Settings) -> Result<Self, ConfigError> {
        let logs =
            TelemetryConfig::read(&mut settings, std::io::stderr().is_terminal(), DEFAULT_LOG);
        let auth = settings.text("VITRINA_AUTH_ISSUER").is_some();
        let auth = auth.then(|| AuthConfig::read(&mut settings));
        let connections = settings.or("VITRINA_DATABASE_CONNECTIONS", DEFAULT_CONNECTIONS);
        let rate_limit = RateLimitConfig::read(&mut settings);
        let environment =
            Self { logs, auth, connections, rate_limit, database: Self::database(&settings) };
        settings.finish(environment)
    }

    /// Where the database comes from.
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

    let roles = args.roles.clone();
    let options = Options {
        listen: args.listen,
        data: global.data.clone(),
        roles: args.roles,
        database,
        auth,
        currency: args.currency,
        connections,
        rate_limit,
    };
    let mut edition = tokio::select! {
        edition = Edition::start(options) => edition?,
        // Half-started stores end with their values; what they had begun, the next start goes on
        // with.
        () = stop.cancelled() => return Ok(OK),
    };
    let said = say_ready(&edition, &roles);
    if let Err(error) = &said {
        // No reason not to serve: it is the end that tells that something was amiss.
        say(&format!("vitrina: {error:#}"));
    }
    let code = tokio::select! {
        () = stop.cancelled() => OK,
        () = edition.failed() => FAILED,
    };
    say("stopping");
    edition.stop().await;
    telemetry.flush();
    Ok(if said.is_ok() { code } else { FAILED })
}

fn say_ready(edition: &Edition, roles: &Roles) -> anyhow::Result<()> {
    print(&format!("ready {}", edition.url))?;
    print(&table(edition, roles)?.to_string())
}

/// What somebody wants to know first.
fn table(edition: &Edition, roles: &Roles) -> anyhow::Result<Table> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let url = &edition.url;
    table.add_row(["API", &format!("{url}/v1/catalog/products")]);
    table.add_row(["Docs", &format!("{url}/docs")]);
    table.add_row(["Data", &edition.folder.path().display().to_string()]);
    table.add_row(["", &edition.database]);
    if !roles.has(Role::Identity) {
        table.add_row(["Roles", &roles.to_string()]);
        return Ok(table);
    }
    let password = edition.folder.demo_password()?;
    for DemoUser { email, has_given_password, .. } in &edition.demo_users {
        let role = email.split('@').next().unwrap_or_default();
        let login = if *has_given_password {
            format!("{email}, password {}", password.expose())
        } else {
            format!("{email}, whose password is another than that of this folder")
        };
        table.add_row([&format!("Demo {role}"), &login]);
    }
    if edition.demo_users.iter().any(|user| !user.has_given_password) {
        let file = edition.folder.demo_password_file();
        let remedy = format!(
            "Copy the file of that name in the folder that made them to {}, or set their password \
             anew with POST /v1/auth/password/forgot: the code comes to {}",
            file.display(),
            edition.folder.mail().display(),
        );
        table.add_row(["", &remedy]);
    }
    table.add_row(["Try", "vitrina token seller     (in another terminal, same --data)"]);
    Ok(table)
}
