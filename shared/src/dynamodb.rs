//! Connections to DynamoDB, or to whatever speaks its API at an endpoint.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// The attempts that one call may take, the first included.
const ATTEMPTS: u32 = 3;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client as the environment says: `AWS_*`, with `AWS_ENDPOINT_URL[_DYNAMODB]`.
pub async fn connect() -> Client {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let config = aws_sdk_dynamodb::config::Builder::from(&config)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts())
        .build();
    Client::from_conf(config)
}

/// A client of the store that runs in this process, at `endpoint`.
pub fn connect_local(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static("local"))
        // The store does not look at them; the protocol needs some.
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts())
        .build();
    Client::from_conf(config)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build()
}

/// Whether the store is the reason and another try may well succeed.
pub fn is_transient<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            true
        }
        SdkError::ServiceError(failure) => matches!(
            failure.err().code(),
            Some(
                "ProvisionedThroughputExceededException"
                    | "ThrottlingException"
                    | "RequestLimitExceeded"
                    | "InternalServerError"
                    | "ServiceUnavailable"
                    | "TransactionConflictException"
                    // The table is being made, or was deleted and is about to be rebuilt.
                    | "ResourceNotFoundException"
            )
        ),
        _ => false,
    }
}
