//! The settings catalogue: every environment variable that Vitrina reads, once.
//!
//! `docs/settings.md` is generated from this table. Reading a setting that is missing here panics in
//! a debug build, and a test fails if no code reads a row.

use std::fmt::Write as _;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// If it ends in `_`, there is one setting for each queue, with the queue's name at the end.
    pub name: &'static str,
    /// The programs that read it.
    pub read_by: &'static str,
    /// The value if the setting is absent, or what happens then.
    pub default: &'static str,
    pub text: &'static str,
}

const fn setting(
    name: &'static str,
    read_by: &'static str,
    default: &'static str,
    text: &'static str,
) -> Setting {
    Setting { name, read_by, default, text }
}

impl Setting {
    /// Whether it is the setting of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || (self.name.ends_with('_') && name.starts_with(self.name))
    }
}

const LOCAL: &str = "local edition";
const SERVICES: &str = "services";
const ALL: &str = "all";
const CLIENT: &str = "command line";

pub static SETTINGS: [Setting; 42] = [
    setting("VITRINA_DATA", LOCAL, "`.vitrina`", "Data folder. Flag: `--data`."),
    setting("VITRINA_LISTEN", LOCAL, "`127.0.0.1:8080`", "Address to serve on. Flag: `--listen`."),
    setting("VITRINA_ROLES", LOCAL, "`all`", "Parts to run, separated by commas. Flag: `--roles`."),
    setting(
        "VITRINA_POSTGRES_BIN",
        LOCAL,
        "searched for",
        "Folder with PostgreSQL's `initdb` and `postgres`.",
    ),
    setting(
        "VITRINA_URL",
        CLIENT,
        "the running local edition",
        "Edition to act on. Flag: `--url`.",
    ),
    setting("VITRINA_TOKEN", CLIENT, "signed with the data folder's key", "Bearer token to send."),
    setting("VITRINA_PASSWORD", CLIENT, "none", "Password of the seller that `import` acts for."),
    setting(
        "VITRINA_ROLE",
        SERVICES,
        "`api`",
        "What the program does: `api`, `relay`, `projector`, `reconcile` or `migrate`, as far as \
         the service has it.",
    ),
    setting("PORT", SERVICES, "`8080`", "TCP port to listen on."),
    setting("VITRINA_BIND", SERVICES, "`0.0.0.0`", "Address to listen on."),
    setting(
        "DATABASE_URL",
        ALL,
        "local edition: a private PostgreSQL; services: required",
        "URL of PostgreSQL. `sslmode` in it applies unless `VITRINA_DATABASE_CA` is set.",
    ),
    setting(
        "VITRINA_DATABASE_CONNECTIONS",
        ALL,
        "by program; `2` in a function",
        "Maximum number of connections to PostgreSQL.",
    ),
    setting(
        "VITRINA_DATABASE_AUTH",
        SERVICES,
        "`password`",
        "`password`, or `iam` for RDS IAM tokens.",
    ),
    setting(
        "VITRINA_DATABASE_CA",
        SERVICES,
        "required with `iam`",
        "PEM file of the authorities that the server certificate is verified against, or `system`.",
    ),
    setting(
        "VITRINA_DATABASE_PROXY",
        SERVICES,
        "`false`",
        "`true` if connections go through an RDS proxy.",
    ),
    setting(
        "VITRINA_DATABASE_SECRET",
        "migrate",
        "the user in `DATABASE_URL`",
        "Name or ARN of the secret with the credentials of the database owner.",
    ),
    setting(
        "VITRINA_DATABASE_APP_USER",
        "migrate",
        "none",
        "Database role of the service, to be created and granted access.",
    ),
    setting(
        "VITRINA_AUTH_ISSUER",
        ALL,
        "local edition: the embedded provider; services: required",
        "Issuer of access tokens.",
    ),
    setting("VITRINA_AUTH_AUDIENCE", ALL, "`vitrina`", "Audience that a token must have."),
    setting(
        "VITRINA_AUTH_JWKS_URL",
        ALL,
        "`{issuer}/.well-known/jwks.json`",
        "URL of the key set of the issuer.",
    ),
    setting("VITRINA_AUTH_ROLES_CLAIM", ALL, "`roles`", "Claim that lists the roles of a user."),
    setting(
        "VITRINA_IDENTITY_KEY_FILE",
        "identity",
        "required",
        "File with the key that signs tokens; created if absent.",
    ),
    setting("VITRINA_MAIL_DIRECTORY", "identity", "required", "Folder that mails are written to."),
    setting(
        "VITRINA_RATE_LIMIT",
        ALL,
        "`1000`",
        "Requests per second and client; `0` for no limit.",
    ),
    setting(
        "VITRINA_TRUSTED_PROXIES",
        ALL,
        "`0`",
        "Number of proxies in front that append to `X-Forwarded-For`.",
    ),
    setting(
        "VITRINA_CURRENCY",
        "local edition, catalog, command line",
        "`BRL`",
        "Currency of filters and imports that name none.",
    ),
    setting(
        "VITRINA_LISTINGS_TABLE",
        "catalog, sync",
        "`listings`; required in a function",
        "DynamoDB table of the listings.",
    ),
    setting(
        "VITRINA_EVENT_BUS",
        "inventory, sync",
        "the queue table in PostgreSQL; required in a function",
        "Name or ARN of the EventBridge bus that events are published to.",
    ),
    setting(
        "VITRINA_QUEUE_URL",
        "catalog",
        "the queue table in PostgreSQL; required in a function",
        "URL of the SQS queue that the program consumes.",
    ),
    setting(
        "VITRINA_DEAD_LETTER_QUEUE_URL",
        "catalog",
        "required with `VITRINA_QUEUE_URL`",
        "URL of its dead-letter queue.",
    ),
    setting(
        "VITRINA_QUEUE_URL_",
        "sync",
        "the queue tables in PostgreSQL; required in a function",
        "URL of the SQS queue with this name in the routes, such as `VITRINA_QUEUE_URL_CATALOG`, for \
         the operators' API. All queues or none.",
    ),
    setting(
        "VITRINA_DEAD_LETTER_QUEUE_URL_",
        "sync",
        "required with `VITRINA_QUEUE_URL_<QUEUE>`",
        "URL of its dead-letter queue.",
    ),
    setting(
        "VITRINA_SYNC_SLICE",
        "sync",
        "by edition",
        "Number of buckets that an invocation of reconciliation compares.",
    ),
    setting(
        "VITRINA_METRICS_NAMESPACE",
        "functions",
        "`Vitrina`",
        "CloudWatch namespace of the metrics.",
    ),
    setting(
        "RUST_LOG",
        ALL,
        "services: `info`; local edition: `info` of Vitrina, `warn` of others",
        "Log filter: levels and targets, separated by commas.",
    ),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        ALL,
        "no traces",
        "OTLP endpoint that traces are exported to.",
    ),
    setting("OTEL_SERVICE_NAME", ALL, "`vitrina`", "Service name in traces."),
    setting("NO_COLOR", CLIENT, "", "If set, output has no colours."),
    setting("CI", CLIENT, "", "If set, progress is printed as lines instead of bars."),
    setting(
        "VITRINA_MINISTACK",
        "tests",
        "in Rust, that in `PATH` or where `.ci/run` installs it",
        "Program of the AWS emulator `ministack`. Without one, tests that need it fail, unless they are \
         built with `VITRINA_TEST_WITHOUT_MINISTACK=1`, which ignores them.",
    ),
    setting("VITRINA_TEST_COUNT", "tests", "by test", "Number of seeds that a random test tries."),
    setting("VITRINA_TEST_SEED", "tests", "by test", "First seed that a random test tries."),
];

/// Whether the catalogue contains `name`. Variables that belong to others, such as `AWS_*`, and those of
/// single tests count as contained.
pub(super) fn contains(name: &str) -> bool {
    let is_ours = name.starts_with("VITRINA_") || name.starts_with("OTEL_");
    let is_of_tests = name.starts_with("VITRINA_TEST_");
    !is_ours || is_of_tests || SETTINGS.iter().any(|setting| setting.is(name))
}

/// `docs/settings.md`.
pub fn to_markdown() -> String {
    let mut text = String::from(
        "# Settings\n\nGenerated by `.ci/describe` from `shared/src/config/catalogue.rs`. Settings are \
         environment variables; a flag takes\nprecedence over a variable, and a variable over the \
         default. An empty value counts as absent. Every fault is reported\nat the start, all at \
         once. AWS clients also read `AWS_*`, including `AWS_ENDPOINT_URL` and\n\
         `AWS_ENDPOINT_URL_<SERVICE>`.\n\n| Setting | Read by | Default | Meaning |\n\
         |---|---|---|---|\n",
    );
    for Setting { name, read_by, default, text: meaning } in &SETTINGS {
        let suffix = if name.ends_with('_') { "<QUEUE>" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `{name}{suffix}` | {read_by} | {default} | {meaning} |");
    }
    text
}
