//! The settings as `vitrina up` would read them.

use std::str::FromStr as _;

use shared::config::Settings;
use shared::config::catalogue::SETTINGS;
use sqlx::postgres::PgConnectOptions;

use super::report::{Finding, Setting};
use crate::commands::up::UpArgs;
use crate::commands::up::{DEFAULT_CONNECTIONS, DEFAULT_LOG, Environment};
use crate::console::global::Global;

const WHAT: &str = "settings";

/// A setting of the build, which developers of Vitrina have in their environment.
const OF_DEVELOPERS: &str = "VITRINA_SQLX_DATABASE_URL";

pub(super) fn list(global: &Global, up: &UpArgs, environment: &Settings) -> Vec<Setting> {
    let flag = |name, id, value| Setting { name, value, source: global.sources.of_argument(id) };
    let variable = |name: &'static str, default: &str| match environment.text(name) {
        Some(value) => Setting { name, value: shown(name, value), source: "environment" },
        None => Setting { name, value: default.to_owned(), source: "default" },
    };
    let mut all = vec![
        flag("VITRINA_DATA", "data", global.data.display().to_string()),
        flag("VITRINA_LISTEN", "listen", up.listen.to_string()),
        flag("VITRINA_ROLES", "roles", up.roles.to_string()),
        flag("VITRINA_CURRENCY", "currency", up.currency.to_string()),
        variable("DATABASE_URL", "(a private PostgreSQL)"),
        variable("VITRINA_POSTGRES_BIN", "(searched for)"),
        variable("VITRINA_DATABASE_CONNECTIONS", &DEFAULT_CONNECTIONS.to_string()),
        variable("VITRINA_RATE_LIMIT", "1000"),
        variable("VITRINA_TRUSTED_PROXIES", "0"),
        variable("VITRINA_AUTH_ISSUER", "(the embedded provider)"),
    ];
    if environment.text("VITRINA_AUTH_ISSUER").is_some() {
        all.push(variable("VITRINA_AUTH_AUDIENCE", "vitrina"));
        all.push(variable("VITRINA_AUTH_JWKS_URL", "(from the issuer)"));
        all.push(variable("VITRINA_AUTH_ROLES_CLAIM", "roles"));
    }
    all.extend([
        variable("RUST_LOG", DEFAULT_LOG),
        variable("OTEL_EXPORTER_OTLP_ENDPOINT", "(no traces)"),
        variable("OTEL_SERVICE_NAME", "vitrina"),
        variable("CI", ""),
        variable("NO_COLOR", ""),
    ]);
    all
}

/// A value with secrets redacted.
fn shown(name: &str, value: &str) -> String {
    if name == "DATABASE_URL" {
        return database_name(value);
    }
    // A URL may hold a password.
    match value.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            let host = rest.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://[redacted]@{host}")
        }
        _ => value.to_owned(),
    }
}

/// The URL of a database without its password, which may appear anywhere in it.
pub(super) fn database_name(url: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(options) => format!(
            "postgres://{}:[redacted]@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default(),
        ),
        Err(_) => "[redacted]".to_owned(),
    }
}

/// Whether `vitrina up` would accept the settings.
pub(super) fn check(environment: &Settings) -> Finding {
    let unknown: Vec<&str> = environment
        .names()
        .filter(|name| name.starts_with("VITRINA_") && !is_known(name))
        .collect();
    match Environment::read(environment.clone()) {
        Err(error) => {
            Finding::failed(WHAT, error.to_string(), "correct or unset the settings named")
        }
        Ok(_) if unknown.is_empty() => Finding::ok(WHAT, "all are valid"),
        Ok(_) => Finding::warning(
            WHAT,
            format!("the local edition does not read {}", unknown.join(", ")),
            "unset it, or check its spelling",
        ),
    }
}

/// Whether the local edition or its command line reads the setting.
fn is_known(name: &str) -> bool {
    const PROGRAMS: [&str; 3] = ["all", "local edition", "command line"];
    let setting = SETTINGS.iter().find(|setting| setting.is(name));
    setting.is_some_and(|it| it.read_by.split(", ").any(|program| PROGRAMS.contains(&program)))
        || name == OF_DEVELOPERS
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn secrets_in_urls_are_not_shown() {
        for url in [
            "postgres://me:hunter2@db.example:5433/shop",
            "postgres://db.example/shop?password=hunter2&user=me",
            "postgres://me:hunter2@[broken",
        ] {
            assert!(!shown("DATABASE_URL", url).contains("hunter2"), "{url}");
        }
        let url = "postgres://me:hunter2@db.example:5433/shop";
        assert_eq!(shown("DATABASE_URL", url), "postgres://me:[redacted]@db.example:5433/shop");
        let endpoint = shown("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hunter2@otel.example/v1");
        assert_eq!(endpoint, "https://[redacted]@otel.example/v1");
        // A password may contain what ends it elsewhere.
        let endpoint =
            shown("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hunter1@hunter2@otel.example");
        assert_eq!(endpoint, "https://[redacted]@otel.example");
    }

    #[test]
    fn setting_of_another_program_is_a_warning() {
        let known = SETTINGS.iter().filter(|it| it.name.starts_with("VITRINA_"));
        let known = known.map(|it| it.name).filter(|name| is_known(name));
        let expected = [
            "VITRINA_DATA",
            "VITRINA_LISTEN",
            "VITRINA_ROLES",
            "VITRINA_POSTGRES_BIN",
            "VITRINA_URL",
            "VITRINA_TOKEN",
            "VITRINA_PASSWORD",
            "VITRINA_DATABASE_CONNECTIONS",
            "VITRINA_AUTH_ISSUER",
            "VITRINA_AUTH_AUDIENCE",
            "VITRINA_AUTH_JWKS_URL",
            "VITRINA_AUTH_ROLES_CLAIM",
            "VITRINA_RATE_LIMIT",
            "VITRINA_TRUSTED_PROXIES",
            "VITRINA_CURRENCY",
        ];
        assert_eq!(known.collect::<Vec<_>>(), expected);
        assert!(is_known(OF_DEVELOPERS));
    }

    #[test]
    fn unknown_setting_warns_and_invalid_setting_fails() {
        let good = Settings::from_pairs([("VITRINA_DATABASE_CONNECTIONS", "4"), ("HOME", "/")]);
        assert_eq!(check(&good).state, State::Ok);
        let misspelt = check(&Settings::from_pairs([("VITRINA_LITSEN", "x")]));
        assert_eq!(misspelt.state, State::Warning);
        assert!(misspelt.detail.contains("VITRINA_LITSEN"));
        let wrong = check(&Settings::from_pairs([("VITRINA_DATABASE_CONNECTIONS", "many")]));
        assert_eq!(wrong.state, State::Failed);
        assert!(wrong.detail.contains("VITRINA_DATABASE_CONNECTIONS"));
    }
}
