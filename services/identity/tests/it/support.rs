//! A separate provider for each test.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use identity::App;
use identity::config::ProviderConfig;
use identity::passwords::Passwords;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::host::server::with_standard_layers;
use shared::http::auth::{AuthConfig, Identity, KeySource, Verifier};
use shared::id::Ids;
use testkit::{self, Call, TestDatabase, TestResponse, within};
use tokio::task::JoinHandle;

pub(crate) const ISSUER: &str = "http://localhost:8080";
pub(crate) const ANA: &str = "ana@example.com";
pub(crate) const PASSWORD: &str = "a long sentence";

pub(crate) struct Provider {
    pub app: App,
    pub clock: Clock,
    pub database: TestDatabase,
    router: Router,
    directory: tempfile::TempDir,
    read: BTreeSet<PathBuf>,
}

/// Assertions on responses that only this service's tests need.
pub(crate) trait ResponseExt {
    fn expect_problem(self, status: u16, code: &str) -> TestResponse;

    /// A string member of the body.
    fn member(&self, name: &str) -> String;

    /// Everything that could distinguish two responses for a client.
    fn without_request_id(self) -> (StatusCode, HeaderMap, Value);
}

impl ResponseExt for TestResponse {
    #[track_caller]
    fn expect_problem(self, status: u16, code: &str) -> TestResponse {
        let response = self.expect(status);
        assert_eq!(response.code(), code);
        response
    }

    #[track_caller]
    fn member(&self, name: &str) -> String {
        self.json[name].as_str().unwrap().to_owned()
    }

    fn without_request_id(mut self) -> (StatusCode, HeaderMap, Value) {
        self.headers.remove("x-request-id");
        if let Some(body) = self.json.as_object_mut() {
            body.remove("request_id");
        }
        (self.status, self.headers, self.json)
    }
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let database = testkit::database(&[&identity::MIGRATOR]).await;
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap());
        let config = ProviderConfig {
            issuer: ISSUER.to_owned(),
            audience: "vitrina".to_owned(),
            key_file: directory.path().join("key"),
            mail_directory: directory.path().join("mails"),
        };
        let (pool, ids) = (database.pool.clone(), Ids::seeded(1));
        let app = App {
            passwords: Passwords::new(2),
            ..App::new(&config, pool, clock.clone(), ids.clone()).unwrap()
        };
        Self {
            router: with_standard_layers(identity::router(app.clone()), &clock, &ids),
            app,
            clock,
            database,
            directory,
            read: BTreeSet::new(),
        }
    }

    /// A provider with the active seller [`ANA`].
    pub(crate) async fn with_ana() -> Self {
        let mut provider = Self::start().await;
        let code = provider.sign_up(ANA, PASSWORD).await;
        provider.activate(ANA, &code).await.expect(204);
        provider
    }

    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        Call::get(path).send(&self.router).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> TestResponse {
        Call::post(path).json(&body).send(&self.router).await
    }

    /// Begins a request without waiting for its response.
    pub(crate) fn begin(&self, path: &'static str, body: Value) -> JoinHandle<TestResponse> {
        let router = self.router.clone();
        tokio::spawn(async move { Call::post(path).json(&body).send(&router).await })
    }

    /// Signs up as a seller, and reads the code in the mail.
    pub(crate) async fn sign_up(&mut self, email: &str, password: &str) -> String {
        self.post("/v1/auth/signup", signup(email, password)).await.expect(202);
        self.code(email).await
    }

    pub(crate) async fn activate(&self, email: &str, code: &str) -> TestResponse {
        let body = json!({"email": email, "code": code});
        self.post("/v1/auth/activate", body).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> TestResponse {
        let body = json!({"email": email, "password": password});
        self.post("/v1/auth/login", body).await
    }

    /// The refresh token of a new session of [`ANA`].
    pub(crate) async fn refresh_token(&self) -> String {
        let tokens = self.log_in(ANA, PASSWORD).await.expect(200);
        tokens.member("refresh_token")
    }

    pub(crate) async fn refresh(&self, token: &str) -> TestResponse {
        self.post("/v1/auth/refresh", json!({"refresh_token": token})).await
    }

    pub(crate) async fn log_out(&self, token: &str) -> TestResponse {
        self.post("/v1/auth/logout", json!({"refresh_token": token})).await
    }

    pub(crate) async fn forget_password(&self, email: &str) -> TestResponse {
        self.post("/v1/auth/password/forgot", json!({"email": email})).await
    }

    pub(crate) async fn reset_password(
        &self,
        email: &str,
        code: &str,
        password: &str,
    ) -> TestResponse {
        let body = json!({"email": email, "code": code, "password": password});
        self.post("/v1/auth/password/reset", body).await
    }

    /// The identity that other services read from a token.
    pub(crate) async fn verify(&self, access_token: &str) -> Identity {
        let config = AuthConfig {
            issuer: ISSUER.to_owned(),
            audience: "vitrina".to_owned(),
            keys: KeySource::Fixed(self.app.issuer.jwks()),
            roles_claim: "roles".to_owned(),
        };
        let verifier = Verifier::new(config, self.clock.clone());
        verifier.verify(access_token).await.unwrap()
    }

    /// The code in the next mail to an address.
    pub(crate) async fn code(&mut self, to: &str) -> String {
        code_in(&self.mail(to).await)
    }

    /// The only unread mail to an address.
    pub(crate) async fn mail(&mut self, to: &str) -> String {
        self.mails(to, 1).await.remove(0)
    }

    /// The unread mails to an address, in no particular order.
    pub(crate) async fn mails(&mut self, to: &str, count: usize) -> Vec<String> {
        let mails = self.unread(to).await;
        assert_eq!(mails.len(), count, "mails to {to}: {mails:?}");
        let (paths, mails): (Vec<_>, _) = mails.into_iter().unzip();
        self.read.extend(paths);
        mails
    }

    /// Asserts that these addresses have no unread mail.
    pub(crate) async fn assert_no_mail(&self, addresses: &[&str]) {
        for to in addresses {
            let mails = self.unread(to).await;
            assert!(mails.is_empty(), "{mails:?}");
        }
    }

    /// The mails to an address that the test has not read yet. Mail is sent after the response, so this
    /// waits for all that responses have left to do.
    async fn unread(&self, to: &str) -> Vec<(PathBuf, String)> {
        within("work in the background", self.app.background.finished()).await;
        let to = format!("To: {to}");
        std::fs::read_dir(self.directory.path().join("mails"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !self.read.contains(path))
            .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
            .filter(|(_, mail)| mail.lines().any(|line| line == to))
            .collect()
    }

    /// The same provider with other state.
    pub(crate) fn with_app(self, app: App) -> Self {
        let router = with_standard_layers(identity::router(app.clone()), &self.clock, &app.ids);
        Self { app, router, ..self }
    }

    pub(crate) fn wait_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn wait_minutes(&self, minutes: u64) {
        self.clock.advance(Duration::from_mins(minutes));
    }

    pub(crate) fn wait_days(&self, days: u64) {
        self.clock.advance(Duration::from_hours(24 * days));
    }

    /// Number of rows in a table of the service.
    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let statement = format!("select count(*) from identity.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&self.database.pool)
            .await
            .unwrap()
    }
}

pub(crate) const TABLES: [&str; 5] = ["users", "codes", "sessions", "refresh_tokens", "attempts"];

pub(crate) fn signup(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password, "name": "Ana Souza", "role": "seller"})
}

/// A code other than this one.
pub(crate) fn other_than(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

/// The code in a mail.
pub(crate) fn code_in(mail: &str) -> String {
    let code = mail.lines().find_map(|line| line.split_once(" code: "));
    code.unwrap().1.to_owned()
}
