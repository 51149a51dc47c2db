//! Authentication to RDS with an IAM token instead of a password.
//!
//! A token is a signed URL. It is valid for 15 minutes and is created locally, without a network call.
//! Open connections outlive their token; only a new connection needs a valid one. A process renews
//! the token periodically; a function renews it before each invocation, because nothing runs between
//! invocations.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Secret;
use crate::telemetry;

/// Lifetime of a token, fixed by RDS.
const LIFETIME: Duration = Duration::from_mins(15);

/// Age at which a token is renewed.
const RENEW_AFTER: TimeDelta = TimeDelta::minutes(10);

/// Interval at which a long-running process checks the age of its token.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Timeout for obtaining AWS credentials.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(2);

/// The database and user that a token is valid for.
#[derive(Clone, Debug)]
struct Address {
    host: String,
    port: u16,
    user: String,
    region: String,
}

/// Why a token could not be created.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("obtaining AWS credentials")]
    Credentials(#[from] CredentialsError),
    #[error("obtaining AWS credentials timed out")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("preparing the signature")]
    Prepare(#[from] aws_sigv4::sign::v4::signing_params::BuildError),
    #[error("signing the token")]
    Sign(#[from] SigningError),
    #[error("reading the address of the database")]
    Address(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Renews the token with which a pool connects. Cheap to clone; clones share the token.
#[derive(Clone, Debug)]
pub struct IamLogin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    options: PgConnectOptions,
    address: Address,
    credentials: SharedCredentialsProvider,
    clock: Clock,
    made_at: Mutex<Option<DateTime<Utc>>>,
}

/// Why IAM authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum IamError {
    #[error("AWS_REGION is not set")]
    NoRegion,
    #[error("no AWS credentials provider is configured")]
    NoCredentials,
}

impl IamLogin {
    /// Takes host, port and user from the options of the pool.
    pub(crate) fn new(
        environment: &SdkConfig,
        pool: PgPool,
        options: PgConnectOptions,
        clock: &Clock,
    ) -> Result<Self, IamError> {
        let region = environment.region().ok_or(IamError::NoRegion)?.to_string();
        let credentials = environment.credentials_provider().ok_or(IamError::NoCredentials)?;
        let address = Address {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            region,
        };
        Ok(Self(Arc::new(Inner {
            pool,
            options,
            address,
            credentials,
            clock: clock.clone(),
            made_at: Mutex::default(),
        })))
    }

    /// Makes a new token if the current one expires soon. On failure the current token stays, and a
    /// request that needs a new connection gets a 503.
    pub async fn renew(&self) {
        let Inner { pool, options, clock, made_at, .. } = &*self.0;
        let mut made_at = made_at.lock().await;
        let now = clock.now();
        // A token of the future is renewed: the clock was set back.
        let fresh = TimeDelta::zero()..RENEW_AFTER;
        if made_at.is_some_and(|made_at| fresh.contains(&(now - made_at))) {
            return;
        }
        match self.token(now).await {
            Ok(token) => {
                pool.set_connect_options(options.clone().password(token.expose()));
                *made_at = Some(now);
            }
            Err(error) => {
                let error = telemetry::causes(&error);
                tracing::warn!(error, "the IAM token for the database could not be renewed");
            }
        }
    }

    /// Renews the token until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(CHECK_INTERVAL) => self.renew().await,
            }
        }
    }

    async fn token(&self, now: DateTime<Utc>) -> Result<Secret<String>, TokenError> {
        let credentials = self.0.credentials.provide_credentials();
        let credentials = tokio::time::timeout(CREDENTIALS_TIMEOUT, credentials).await??;
        sign_token(&self.0.address, credentials, now.into())
    }
}

/// Signs a token: the URL of the database, without its scheme.
fn sign_token(
    address: &Address,
    credentials: Credentials,
    now: SystemTime,
) -> Result<Secret<String>, TokenError> {
    let Address { host, port, user, region } = address;
    let unreadable = |error| TokenError::Address(Box::new(error));
    let mut url = reqwest::Url::parse(&format!("https://{host}:{port}/")).map_err(unreadable)?;
    url.query_pairs_mut().append_pair("Action", "connect").append_pair("DBUser", user);
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(LIFETIME);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()?;
    let headers = std::iter::empty();
    let request = SignableRequest::new("GET", url.as_str(), headers, SignableBody::Bytes(&[]))?;
    let (instructions, _signature) = sign(request, &parameters.into())?.into_parts();
    for (name, value) in instructions.params() {
        url.query_pairs_mut().append_pair(name, value);
    }
    let token = url.as_str().strip_prefix("https://").unwrap_or_default();
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "prod-instance.us-east-1.rds.amazonaws.com";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn token_equals_that_of_the_sdk() {
        // The test vector of the SDK's own token generator.
        let address = Address {
            host: HOST.to_owned(),
            port: 3306,
            user: "peccy".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        let token = sign_token(&address, credentials, at(1_724_709_600)).unwrap();
        assert_eq!(
            token.expose(),
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20240826T220000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89"
        );
        assert_eq!(format!("{token:?}"), "[redacted]");
    }

    /// A login whose database does not exist, and its clock.
    fn login(credentials: SharedCredentialsProvider) -> (IamLogin, Clock) {
        let clock = Clock::fixed(DateTime::from_timestamp(1_724_709_600, 0).unwrap());
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1);
        let environment = SdkConfig::builder()
            .region(aws_config::Region::from_static("us-east-1"))
            .credentials_provider(credentials)
            .build();
        let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(options.clone());
        (IamLogin::new(&environment, pool, options, &clock).unwrap(), clock)
    }

    fn password(login: &IamLogin) -> Option<String> {
        // The password has no getter; the debug output contains it.
        let options = format!("{:?}", login.0.pool.connect_options());
        options.split("X-Amz-Date=").nth(1).map(|rest| rest.chars().take(16).collect())
    }

    #[tokio::test]
    async fn token_is_renewed_before_it_expires() {
        let credentials = Credentials::new("akid", "secret", Some("+/=".to_owned()), None, "test");
        let (login, clock) = login(SharedCredentialsProvider::new(credentials));
        assert_eq!(password(&login), None);
        login.renew().await;
        assert_eq!(password(&login).unwrap(), "20240826T220000Z");
        clock.advance(Duration::from_secs(10 * 60 - 1));
        login.renew().await;
        assert_eq!(password(&login).unwrap(), "20240826T220000Z");
        clock.advance(Duration::from_secs(1));
        login.renew().await;
        assert_eq!(password(&login).unwrap(), "20240826T221000Z");
        // The function was frozen overnight.
        clock.advance(Duration::from_hours(9));
        login.renew().await;
        assert_eq!(password(&login).unwrap(), "20240827T071000Z");
    }

    #[derive(Debug)]
    struct NoCredentials;

    impl aws_credential_types::provider::ProvideCredentials for NoCredentials {
        fn provide_credentials<'a>(
            &'a self,
        ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let refused = CredentialsError::not_loaded("none configured");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(refused))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn process_checks_its_token_twice_a_minute() {
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        let (login, clock) = login(SharedCredentialsProvider::new(credentials));
        login.renew().await;
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(login.clone().keep(stop.clone()));
        clock.advance(Duration::from_mins(10));
        tokio::time::sleep(Duration::from_millis(29_999)).await;
        assert_eq!(password(&login).unwrap(), "20240826T220000Z");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(password(&login).unwrap(), "20240826T221000Z");
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn token_is_renewed_at_once_when_the_clock_is_set_back() {
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        let (login, clock) = login(SharedCredentialsProvider::new(credentials));
        login.renew().await;
        let Clock::Fixed(micros) = &clock else { panic!("it advances by itself") };
        micros.fetch_sub(60_000_000, std::sync::atomic::Ordering::SeqCst);
        // A token of the future is invalid now, and would be kept until its time has come.
        login.renew().await;
        assert_eq!(password(&login).unwrap(), "20240826T215900Z");
    }

    #[derive(Debug)]
    struct SilentProvider;

    impl aws_credential_types::provider::ProvideCredentials for SilentProvider {
        fn provide_credentials<'a>(
            &'a self,
        ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            aws_credential_types::provider::future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_credentials_delay_a_renewal_by_two_seconds() {
        let (login, _clock) = login(SharedCredentialsProvider::new(SilentProvider));
        let begun = tokio::time::Instant::now();
        login.renew().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        assert_eq!(password(&login), None);
    }

    #[tokio::test]
    async fn token_stays_when_credentials_are_missing() {
        let (login, _clock) = login(SharedCredentialsProvider::new(NoCredentials));
        login.renew().await;
        assert_eq!(password(&login), None);
    }
}
