//! Every setting of every program: unset, set to each kind of value, and set wrongly. The settings come
//! from the catalogue, so that a new one fails until it has a row here.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use clap::CommandFactory as _;
use shared::config::Settings;
use shared::config::catalogue::SETTINGS;
use vitrina::commands::Cli;

/// A program in one of its roles, with the settings that it cannot run without.
struct Program {
    name: &'static str,
    read: fn(&mut Settings) -> Box<dyn Debug>,
    role: &'static str,
    required: &'static [(&'static str, &'static str)],
}

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://127.0.0.1/vitrina");
const ISSUER: (&str, &str) = ("VITRINA_AUTH_ISSUER", "https://issuer.example");
const KEY: (&str, &str) = ("VITRINA_IDENTITY_KEY_FILE", "/var/lib/vitrina/key");
const MAIL: (&str, &str) = ("VITRINA_MAIL_DIRECTORY", "/var/mail/vitrina");
const TABLE: (&str, &str) = ("VITRINA_LISTINGS_TABLE", "shop-listings");
const BUS: (&str, &str) = ("VITRINA_EVENT_BUS", "shop");
const QUEUE: (&str, &str) = ("VITRINA_QUEUE_URL", "http://127.0.0.1/1/catalog");
const DEAD: (&str, &str) = ("VITRINA_DEAD_LETTER_QUEUE_URL", "http://127.0.0.1/1/dead");
const QUEUE_OF: (&str, &str) = ("VITRINA_QUEUE_URL_CATALOG", "http://127.0.0.1/1/catalog");
const DEAD_OF: (&str, &str) = ("VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG", "http://127.0.0.1/1/dead");
const FUNCTION: (&str, &str) = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");

fn inventory(settings: &mut Settings) -> Box<dyn Debug> {
    Box::new(inventory::config::Config::read(settings))
}

fn catalog(settings: &mut Settings) -> Box<dyn Debug> {
    Box::new(catalog::config::Config::read(settings))
}

fn identity(settings: &mut Settings) -> Box<dyn Debug> {
    Box::new(identity::config::Config::read(settings))
}

fn sync(settings: &mut Settings) -> Box<dyn Debug> {
    Box::new(sync::config::Config::read(settings))
}

macro_rules! program {
    ($read:ident, $role:literal, [$($required:expr),*]) => {
        Program {
            name: concat!(stringify!($read), " ", $role),
            read: $read,
            role: $role,
            required: &[$($required),*],
        }
    };
}

/// Every role of every service, the default one first.
static PROGRAMS: [Program; 11] = [
    program!(inventory, "api", [DATABASE, ISSUER]),
    program!(inventory, "relay", [DATABASE]),
    program!(inventory, "migrate", [DATABASE]),
    program!(catalog, "api", []),
    program!(catalog, "projector", [DATABASE]),
    program!(catalog, "migrate", [DATABASE]),
    program!(identity, "api", [DATABASE, ISSUER, KEY, MAIL]),
    program!(identity, "migrate", [DATABASE]),
    program!(sync, "api", [DATABASE, ISSUER]),
    program!(sync, "reconcile", [DATABASE]),
    program!(sync, "migrate", [DATABASE]),
];

/// The roles that run as functions, which require more.
static FUNCTIONS: [Program; 6] = [
    program!(inventory, "api", [FUNCTION, DATABASE, ISSUER, BUS]),
    program!(inventory, "relay", [FUNCTION, DATABASE, BUS]),
    program!(catalog, "api", [FUNCTION, TABLE]),
    program!(catalog, "projector", [FUNCTION, TABLE, QUEUE, DEAD]),
    program!(sync, "api", [FUNCTION, DATABASE, ISSUER, TABLE, QUEUE_OF, DEAD_OF]),
    program!(sync, "reconcile", [FUNCTION, DATABASE, TABLE]),
];

impl Program {
    /// The effective configuration, or the faults, with `changes` to the required settings. An empty
    /// value unsets one.
    fn with(&self, changes: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let role = [("VITRINA_ROLE", self.role)];
        let all = role.iter().chain(self.required).chain(changes).copied();
        let mut settings = Settings::from_pairs(all);
        let config = (self.read)(&mut settings);
        settings.finish(config).map(|config| format!("{config:?}")).map_err(|error| error.faults)
    }
}

/// Where the effect of a setting is to be seen.
enum Row {
    /// In the configuration of services: some values with effects that all differ, and wrong values.
    Service { values: &'static [&'static str], wrong: &'static [&'static str] },
    /// As `Service`, but the value is secret or shown by no configuration.
    Hidden,
    /// A flag of the command line reads it.
    Flag,
    /// This test verifies it.
    Elsewhere(&'static str),
}

fn row(name: &str) -> Row {
    const TEXTS: &[&str] = &["one", "two"];
    const URLS: &[&str] = &["http://127.0.0.1/1/one", "https://sqs.example/1/two"];
    const NO_URLS: &[&str] = &["one", "http://127.0.0.1/", "ftp://127.0.0.1/1/one"];
    let service = |values, wrong| Row::Service { values, wrong };
    match name {
        "VITRINA_DATA" | "VITRINA_LISTEN" | "VITRINA_ROLES" | "VITRINA_URL"
        | "VITRINA_PASSWORD" => Row::Flag,
        "PORT" => service(&["1", "65535"], &["65536", "-1", "http", "80 "]),
        "VITRINA_BIND" => service(&["127.0.0.1", "::1"], &["localhost", "127.0.0.1:80"]),
        "DATABASE_URL" => Row::Hidden,
        "VITRINA_DATABASE_CONNECTIONS" => service(&["1", "99"], &["0", "-1", "many", "1.5"]),
        "VITRINA_DATABASE_AUTH" | "VITRINA_DATABASE_CA" => {
            Row::Elsewhere("login_by_iam_needs_an_authority")
        }
        "VITRINA_DATABASE_PROXY" => service(&["true"], &["yes", "1", "TRUE"]),
        "VITRINA_ROLE" => Row::Elsewhere("role_is_the_first_of_the_service_unless_it_is_named"),
        "VITRINA_AUTH_ISSUER" => service(&["https://one.example", "https://two.example/"], &[]),
        "VITRINA_LISTINGS_TABLE" => service(&["one-listings", "two-listings"], &["a b", "x"]),
        "VITRINA_QUEUE_URL"
        | "VITRINA_DEAD_LETTER_QUEUE_URL"
        | "VITRINA_QUEUE_URL_"
        | "VITRINA_DEAD_LETTER_QUEUE_URL_" => service(URLS, NO_URLS),
        "VITRINA_RATE_LIMIT" => service(&["0", "1", "5000"], &["-1", "many", "0.5"]),
        "VITRINA_TRUSTED_PROXIES" => service(&["1", "2"], &["-1", "true"]),
        "VITRINA_CURRENCY" => service(&["JPY", "USD"], &["brl", "XXX", "R$"]),
        "VITRINA_SYNC_SLICE" => service(&["1", "1023"], &["-1", "65536", "all"]),
        "RUST_LOG" => {
            service(&["debug", "warn,shared=trace"], &["shared=loud", "info[span]=debug"])
        }
        "VITRINA_AUTH_AUDIENCE"
        | "VITRINA_AUTH_JWKS_URL"
        | "VITRINA_AUTH_ROLES_CLAIM"
        | "VITRINA_IDENTITY_KEY_FILE"
        | "VITRINA_MAIL_DIRECTORY"
        | "VITRINA_DATABASE_SECRET"
        | "VITRINA_DATABASE_APP_USER"
        | "VITRINA_EVENT_BUS"
        | "VITRINA_METRICS_NAMESPACE"
        | "OTEL_EXPORTER_OTLP_ENDPOINT"
        | "OTEL_SERVICE_NAME" => service(TEXTS, &[]),
        "VITRINA_POSTGRES_BIN" => Row::Elsewhere("infra/local/tests/it/first_start.rs"),
        "VITRINA_TOKEN" => Row::Elsewhere("infra/local/tests/cli/remote_edition.rs"),
        "NO_COLOR" | "CI" => Row::Elsewhere("infra/local/src/console/progress.rs"),
        "VITRINA_MINISTACK" => Row::Elsewhere("testkit/src/ministack.rs"),
        "VITRINA_TEST_COUNT" | "VITRINA_TEST_SEED" => Row::Elsewhere("testkit/src/random_runs.rs"),
        other => panic!("add a row for {other}"),
    }
}

fn is_read_by(setting: &str, program: &Program) -> bool {
    let readers: &[&str] = match setting {
        "PORT"
        | "VITRINA_BIND"
        | "VITRINA_RATE_LIMIT"
        | "VITRINA_TRUSTED_PROXIES"
        | "VITRINA_METRICS_NAMESPACE"
        | "RUST_LOG"
        | "OTEL_EXPORTER_OTLP_ENDPOINT"
        | "OTEL_SERVICE_NAME" => return true,
        "VITRINA_DATABASE_CONNECTIONS" | "VITRINA_DATABASE_PROXY" => {
            return program.required.contains(&DATABASE);
        }
        "VITRINA_DATABASE_SECRET" | "VITRINA_DATABASE_APP_USER" => {
            &["inventory migrate", "catalog migrate", "identity migrate", "sync migrate"]
        }
        "VITRINA_AUTH_ISSUER" | "VITRINA_AUTH_AUDIENCE" => {
            &["inventory api", "identity api", "sync api"]
        }
        "VITRINA_AUTH_JWKS_URL" | "VITRINA_AUTH_ROLES_CLAIM" => &["inventory api", "sync api"],
        "VITRINA_IDENTITY_KEY_FILE" | "VITRINA_MAIL_DIRECTORY" => &["identity api"],
        "VITRINA_CURRENCY" => &["catalog api"],
        "VITRINA_LISTINGS_TABLE" => {
            &["catalog api", "catalog projector", "sync api", "sync reconcile"]
        }
        "VITRINA_EVENT_BUS" => &["inventory api", "inventory relay"],
        "VITRINA_QUEUE_URL" | "VITRINA_DEAD_LETTER_QUEUE_URL" => &["catalog projector"],
        "VITRINA_QUEUE_URL_" | "VITRINA_DEAD_LETTER_QUEUE_URL_" => &["sync api"],
        "VITRINA_SYNC_SLICE" => &["sync reconcile"],
        other => panic!("name the programs that read {other}"),
    };
    readers.contains(&program.name)
}

/// The default in the catalogue, if it is a value and not a sentence.
fn documented(default: &'static str) -> Option<&'static str> {
    default.strip_prefix('`')?.split_once('`').map(|(value, _)| value)
}

/// The configuration with this setting. The URLs of a queue and of its dead letters need each other.
fn set(program: &Program, name: &str, value: &str) -> Result<String, Vec<String>> {
    let url = "http://127.0.0.1/1/other";
    match name {
        "VITRINA_QUEUE_URL" => program.with(&[(name, value), (DEAD.0, url)]),
        "VITRINA_DEAD_LETTER_QUEUE_URL" => program.with(&[(name, value), (QUEUE.0, url)]),
        "VITRINA_QUEUE_URL_" => program.with(&[(QUEUE_OF.0, value), (DEAD_OF.0, url)]),
        "VITRINA_DEAD_LETTER_QUEUE_URL_" => program.with(&[(DEAD_OF.0, value), (QUEUE_OF.0, url)]),
        _ => program.with(&[(name, value)]),
    }
}

#[test]
fn setting_has_its_default_each_value_and_no_wrong_one() {
    for setting in &SETTINGS {
        let Row::Service { values, wrong } = row(setting.name) else { continue };
        let name = setting.name;
        for program in PROGRAMS.iter().chain(&FUNCTIONS) {
            if name == "RUST_LOG" && program.required.contains(&FUNCTION) {
                // The default of a function also silences a target of Lambda's runtime.
                continue;
            }
            if [QUEUE.0, DEAD.0].contains(&name) && program.name == "sync api" {
                // Operators need the queues by their names.
                assert!(set(program, name, values[0]).is_err() || program.required.len() > 3);
                continue;
            }
            let what = format!("{name} in {}", program.name);
            let base = program.with(&[]).unwrap_or_else(|faults| panic!("{what}: {faults:?}"));
            let effects: BTreeSet<String> = values
                .iter()
                .map(|value| {
                    set(program, name, value).unwrap_or_else(|no| panic!("{what}: {no:?}"))
                })
                .collect();
            let is_read = effects.iter().any(|effect| *effect != base);
            assert_eq!(is_read, is_read_by(name, program), "{what}");
            if !is_read {
                // A wrong value must not stop it either.
                continue;
            }
            assert_eq!(effects.len(), values.len(), "{what}: two values have one effect");
            let is_required = program.required.iter().any(|(required, _)| required == &name);
            if !is_required {
                assert!(!effects.contains(&base), "{what}: a value has the effect of none");
                if let Some(default) = documented(setting.default) {
                    let default = default.replace("{issuer}", ISSUER.1);
                    assert_eq!(set(program, name, &default).unwrap(), base, "{what}: {default}");
                }
            }
            for value in wrong {
                let faults = set(program, name, value).unwrap_err();
                assert_eq!(faults.len(), 1, "{what} as {value:?}: {faults:?}");
                assert!(faults[0].starts_with(name), "{what} as {value:?}: {faults:?}");
                assert!(faults[0].contains(" is wrong: "), "{what} as {value:?}: {faults:?}");
            }
        }
    }
}

#[test]
fn program_names_every_required_setting_that_is_missing() {
    for program in PROGRAMS.iter().chain(&FUNCTIONS) {
        for (name, _) in program.required.iter().filter(|(name, _)| *name != FUNCTION.0) {
            let faults = program.with(&[(name, "")]).unwrap_err();
            let expected = format!("{name} is not set");
            assert!(faults.iter().any(|fault| fault.starts_with(&expected)), "{faults:?}");
        }
        let none: Vec<_> = program
            .required
            .iter()
            .map(|(name, value)| (*name, if *name == FUNCTION.0 { value } else { "" }))
            .collect();
        if none.iter().any(|(_, value)| value.is_empty()) {
            let faults = program.with(&none).unwrap_err();
            let missing = none.iter().filter(|(_, value)| value.is_empty()).count();
            assert_eq!(faults.len(), missing, "{}: {faults:?}", program.name);
        }
    }
}

#[test]
fn empty_setting_counts_as_absent() {
    for program in PROGRAMS.iter().chain(&FUNCTIONS) {
        let absent = program.with(&[]).unwrap();
        for setting in &SETTINGS {
            // Some end with the name of a queue.
            let is_prefix = setting.name.ends_with('_');
            let name = setting.name.to_owned() + if is_prefix { "CATALOG" } else { "" };
            if !program.required.iter().any(|(required, _)| *required == name)
                && name != "VITRINA_ROLE"
            {
                let empty = program.with(&[(&name, "")]);
                assert_eq!(empty.as_ref(), Ok(&absent), "{}: {name}", program.name);
            }
        }
    }
}

#[test]
fn url_of_another_database_is_refused() {
    let name = DATABASE.0;
    for program in PROGRAMS.iter().filter(|program| program.required.contains(&DATABASE)) {
        for wrong in ["mysql://127.0.0.1/vitrina", "vitrina", "postgres:/", "postgres://[broken"] {
            let faults = program.with(&[(name, wrong)]).unwrap_err();
            assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
            assert!(faults[0].starts_with(&format!("{name} is wrong: ")), "{faults:?}");
        }
        program.with(&[(name, "postgresql://127.0.0.1/vitrina")]).unwrap();
    }
}

#[test]
fn role_is_the_first_of_the_service_unless_it_is_named() {
    let mut services = BTreeSet::new();
    for program in &PROGRAMS {
        let (service, _) = program.name.split_once(' ').unwrap();
        let named = program.with(&[]).unwrap();
        let unnamed = program.with(&[("VITRINA_ROLE", "")]);
        // The first row of a service is its default.
        if services.insert(service) {
            assert_eq!(unnamed.unwrap(), named, "{service}");
        } else {
            assert_ne!(unnamed, Ok(named), "{}", program.name);
        }
        let wrong = program.with(&[("VITRINA_ROLE", "janitor")]).unwrap_err();
        let of_service = PROGRAMS.iter().filter(|other| other.name.starts_with(service));
        let roles: Vec<&str> = of_service.map(|program| program.role).collect();
        let expected = format!("VITRINA_ROLE is wrong: must be one of {}", roles.join(", "));
        assert!(wrong.contains(&expected), "{wrong:?}");
    }
}

#[test]
fn pool_has_the_documented_connections_of_its_program() {
    for (service, expected) in [("inventory", 16), ("catalog", 4), ("identity", 16), ("sync", 8)] {
        for program in PROGRAMS.iter().filter(|program| program.name.starts_with(service)) {
            let config = program.with(&[]).unwrap();
            let pool = format!("max_connections: {expected}");
            assert!(config.contains(&pool) || program.name == "catalog api", "{config}");
        }
    }
    for program in &FUNCTIONS {
        let config = program.with(&[]).unwrap();
        // A frozen function may wake with a dead connection, so each is checked before its use.
        let pool = config.contains("max_connections: 2,") && config.contains("fresh: 0ns");
        assert!(pool || program.name.starts_with("catalog"), "{config}");
    }
}

#[test]
fn login_by_iam_needs_an_authority() {
    let ca = "VITRINA_DATABASE_CA";
    let auth = "VITRINA_DATABASE_AUTH";
    for program in PROGRAMS.iter().filter(|program| program.required.contains(&DATABASE)) {
        let config = |changes: &[(&str, &str)]| program.with(changes).unwrap();
        let base = config(&[]);
        assert!(base.contains("login: Password, ca: None"), "{base}");
        assert_eq!(config(&[(auth, "password")]), base);
        let system = config(&[(auth, "iam"), (ca, "system")]);
        assert!(system.contains("login: Iam, ca: Some(System)"), "{system}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let file = config(&[(ca, path)]);
        assert!(file.contains(&format!("login: Password, ca: Some(File({path:?}))")), "{file}");
        let absent = program.with(&[(ca, "/does/not/exist.pem")]).unwrap_err();
        assert_eq!(absent, [format!("{ca} is wrong: /does/not/exist.pem is not a file")]);
        let missing = program.with(&[(auth, "iam")]).unwrap_err();
        assert!(missing.len() == 1 && missing[0].starts_with(ca), "{missing:?}");
        for wrong in ["IAM", "none", "password "] {
            let faults = program.with(&[(auth, wrong)]).unwrap_err();
            assert_eq!(faults, [format!("{auth} is wrong: must be password or iam")]);
        }
    }
}

#[test]
fn flag_has_the_documented_default_of_its_setting() {
    let mut flags = BTreeSet::new();
    let command = Cli::command();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for argument in command.get_arguments() {
            let Some(name) = argument.get_env() else { continue };
            let name = name.to_str().unwrap();
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            let setting = setting.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
            flags.insert(setting.name);
            let defaults = argument.get_default_values().iter();
            let defaults: Vec<&str> = defaults.map(|value| value.to_str().unwrap()).collect();
            match documented(setting.default) {
                Some(documented) if !defaults.is_empty() => assert_eq!(defaults, [documented]),
                _ => assert!(defaults.is_empty(), "{name}: {defaults:?}"),
            }
        }
    }
    for setting in &SETTINGS {
        let is_flag = matches!(row(setting.name), Row::Flag);
        assert!(!is_flag || flags.contains(setting.name), "{} is no flag", setting.name);
    }
}

#[test]
fn setting_that_has_no_row_here_is_in_the_test_that_it_names() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for setting in &SETTINGS {
        let Row::Elsewhere(test) = row(setting.name) else { continue };
        let is_file = test.contains('/');
        let file = if is_file { test } else { "infra/local/tests/it/settings.rs" };
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(setting.name), "{file} does not mention {}", setting.name);
        assert!(is_file || text.contains(&format!("fn {test}()")), "{test}");
    }
}
