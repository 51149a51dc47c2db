//! Clients for DynamoDB, or for another endpoint with its API, and batch reads.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity,
};

use crate::aws;

/// Limit of DynamoDB for the keys in one `BatchGetItem`.
const BATCH: usize = 100;

/// Reads of keys that DynamoDB leaves unprocessed, including the first.
const MAX_ROUNDS: u32 = 8;

/// Pause before unprocessed keys are read again; twice as long each further time. DynamoDB leaves keys
/// if it throttles, so that asking at once would not help, or if a response would exceed 16 MB. The
/// pauses of one batch are at most 1.27 s in total, which leaves most of the time of a request.
const UNPROCESSED_BACKOFF: Duration = Duration::from_millis(10);

/// An item, or its key.
pub type Item = HashMap<String, AttributeValue>;

/// Attempts per call, including the first.
const ATTEMPTS: u32 = 3;

/// Timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client configured by the environment: `AWS_*` and `AWS_ENDPOINT_URL[_DYNAMODB]`.
pub async fn connect() -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(aws::environment().await)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// A client of the in-process store at `endpoint`. It uses no proxy of the environment, which is meant for
/// other hosts.
pub fn connect_local(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .region(Region::from_static("local"))
        // The protocol requires credentials; the store ignores them.
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Attempts have a timeout. Stalled-stream protection is for long streams, which DynamoDB does not
/// have.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build()
}

/// Whether the store caused the error and a retry may succeed.
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
                    // The table is being created, or was deleted and will be rebuilt.
                    | "ResourceNotFoundException"
            )
        ),
        _ => false,
    }
}

/// Items of a batch, and the capacity that reading them consumed, if the store reports it.
#[derive(Debug)]
pub struct Batch {
    pub items: Vec<Item>,
    pub consumed: Vec<ConsumedCapacity>,
}

/// Why a batch could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("DynamoDB did not respond to the batch")]
    Call(#[from] Box<SdkError<BatchGetItemError>>),
    #[error("DynamoDB left some keys of the batch unprocessed in every attempt")]
    Incomplete,
    #[error("building the batch request")]
    Build(#[from] BuildError),
}

impl BatchError {
    /// Whether the store caused the error and a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => is_transient(error),
            Self::Incomplete => true,
            Self::Build(_) => false,
        }
    }
}

/// Consistency of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Returns the last write.
    Strong,
    /// May return an older state, at half the cost.
    Eventual,
}

/// Reads the items with these keys that exist: whole, or only the attributes in `projection`. Waits up to
/// 1.27 s in every hundred keys for keys that DynamoDB leaves unprocessed.
pub async fn batch_get(
    client: &Client,
    table: &str,
    keys: &[Item],
    consistency: Consistency,
    projection: Option<&str>,
) -> Result<Vec<Batch>, BatchError> {
    let mut batches = Vec::new();
    for some in keys.chunks(BATCH) {
        let (mut keys, mut rounds) = (some.to_vec(), 0);
        while !keys.is_empty() {
            if rounds == MAX_ROUNDS {
                return Err(BatchError::Incomplete);
            }
            if rounds > 0 {
                tokio::time::sleep(UNPROCESSED_BACKOFF * 2_u32.pow(rounds - 1)).await;
            }
            rounds += 1;
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .set_projection_expression(projection.map(ToOwned::to_owned))
                .consistent_read(consistency == Consistency::Strong)
                .build()?;
            let response = client
                .batch_get_item()
                .request_items(table, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(Box::new)?;
            let items = response.responses.unwrap_or_default().remove(table).unwrap_or_default();
            batches.push(Batch { items, consumed: response.consumed_capacity.unwrap_or_default() });
            if let Some(left) = response.unprocessed_keys.unwrap_or_default().remove(table) {
                keys = left.keys;
            }
        }
    }
    Ok(batches)
}
