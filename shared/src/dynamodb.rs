//! Connections to DynamoDB, or to whatever speaks its API at an endpoint, and what every caller of
//! it needs.

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

/// The most items that one `BatchGetItem` takes.
const BATCH: usize = 100;

/// How often keys that DynamoDB left out of a batch are asked for again.
const MAX_ROUNDS: usize = 8;

/// An item, or its key.
pub type Item = HashMap<String, AttributeValue>;

/// The attempts that one call may take, the first included.
const ATTEMPTS: u32 = 3;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client as the environment says: `AWS_*`, with `AWS_ENDPOINT_URL[_DYNAMODB]`.
pub async fn connect() -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(aws::environment().await)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
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
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// An attempt ends by its timeout; watching how fast its bytes flow is for streams of any length,
/// which DynamoDB has none of.
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

/// Items that came together, and what reading them cost, where the store says so.
#[derive(Debug)]
pub struct Batch {
    pub items: Vec<Item>,
    pub consumed: Vec<ConsumedCapacity>,
}

/// Why items could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("DynamoDB did not answer the batch")]
    Call(#[from] Box<SdkError<BatchGetItemError>>),
    #[error("DynamoDB left out some of the batch each time")]
    Incomplete,
    #[error("making the batch")]
    Build(#[from] BuildError),
}

impl BatchError {
    /// Whether the store is the reason and another try may well succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => is_transient(error),
            Self::Incomplete => true,
            Self::Build(_) => false,
        }
    }
}

/// Which of the stored states a read may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The last one that was written.
    Strong,
    /// One of the last, for half the price.
    Eventual,
}

/// The items with these keys, as far as there are any: whole, or the attributes that `projection`
/// names.
pub async fn batch_get(
    client: &Client,
    table: &str,
    keys: &[Item],
    consistency: Consistency,
    projection: Option<&str>,
) -> Result<Vec<Batch>, BatchError> {
    let mut batches = Vec::new();
    for some in keys.chunks(BATCH) {
        let mut keys = some.to_vec();
        let mut rounds = 0;
        while !keys.is_empty() {
            rounds += 1;
            if rounds > MAX_ROUNDS {
                return Err(BatchError::Incomplete);
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .set_projection_expression(projection.map(ToOwned::to_owned))
                .consistent_read(consistency == Consistency::Strong)
                .build()?;
            let answer = client
                .batch_get_item()
                .request_items(table, request)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(Box::new)?;
            let items = answer.responses.unwrap_or_default().remove(table).unwrap_or_default();
            batches.push(Batch { items, consumed: answer.consumed_capacity.unwrap_or_default() });
            if let Some(left) = answer.unprocessed_keys.unwrap_or_default().remove(table) {
                keys = left.keys;
            }
        }
    }
    Ok(batches)
}
