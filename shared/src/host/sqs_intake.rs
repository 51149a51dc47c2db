//! Passes events from SQS to a handler: by long poll in a process, by invocation in a function.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::bus::aws::{Settled, SqsError, SqsMessage, SqsQueue};
use crate::clock::Clock;
use crate::host::intake::{self, Handler, Incoming};
use crate::host::tick::{self, Pace, Progress};

/// Concurrent batches. SQS gives at most ten messages, and a batch mostly waits for responses.
const CONCURRENT_BATCHES: usize = 4;

/// Timeout of a round: a long poll, and then the visibility timeout of its messages.
const ROUND_TIMEOUT: Duration = Duration::from_mins(2);

impl Incoming for SqsMessage {
    fn event(&self) -> &str {
        self.event()
    }

    fn id(&self) -> String {
        self.id.clone()
    }
}

/// Consumes `queue` until `stop`. Messages received by then are handled and settled.
pub async fn consume(
    queue: SqsQueue,
    clock: Clock,
    handler: &impl Handler,
    stop: CancellationToken,
) {
    let pace = Pace { every: Duration::ZERO, limit: Some(ROUND_TIMEOUT) };
    let pollers = (0..CONCURRENT_BATCHES).map(|_| {
        tick::run("intake", pace, Arc::default(), stop.clone(), || {
            once(&queue, &clock, handler, &stop)
        })
    });
    futures::future::join_all(pollers).await;
}

/// Receives one batch, handles it and settles it.
pub async fn once(
    queue: &SqsQueue,
    clock: &Clock,
    handler: &impl Handler,
    stop: &CancellationToken,
) -> Result<Progress, SqsError> {
    let messages = tokio::select! {
        () = stop.cancelled() => return Ok(Progress::Idle),
        messages = queue.receive() => messages?,
    };
    if messages.is_empty() {
        return Ok(Progress::Idle);
    }
    let settled = handle(queue, clock, handler, messages).await;
    queue.delete(&settled.done).await?;
    Ok(if settled.again.is_empty() { Progress::More } else { Progress::Idle })
}

/// Handles messages, and extends their visibility timeout during that time.
async fn handle(
    queue: &SqsQueue,
    clock: &Clock,
    handler: &impl Handler,
    messages: Vec<SqsMessage>,
) -> Settled {
    let received = messages.clone();
    let extending = async {
        loop {
            tokio::time::sleep(queue.half_visibility()).await;
            queue.extend(&received).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = intake::work(messages, clock, handler) => outcomes,
        () = extending => Vec::new(),
    };
    queue.settle(outcomes).await
}

/// The payload with which Lambda invokes a consumer of SQS.
#[derive(Debug, Deserialize)]
pub struct Invocation {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(rename = "ApproximateReceiveCount")]
    receive_count: Option<String>,
    #[serde(rename = "SentTimestamp")]
    sent: Option<String>,
}

/// The response to Lambda: the messages to redeliver. Lambda deletes the others.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct InvocationResponse {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ItemFailure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

impl From<Record> for SqsMessage {
    fn from(record: Record) -> Self {
        let Attributes { receive_count, sent } = record.attributes;
        let attempts = receive_count.and_then(|count| count.parse().ok());
        let sent_at = sent.and_then(|millis| DateTime::from_timestamp_millis(millis.parse().ok()?));
        Self {
            id: record.message_id,
            receipt: record.receipt_handle,
            body: record.body,
            sent_at: sent_at.unwrap_or_default(),
            attempts: attempts.unwrap_or(1),
        }
    }
}

/// Handles the messages of an invocation.
pub async fn handle_invocation(
    queue: &SqsQueue,
    clock: &Clock,
    handler: &impl Handler,
    invocation: Invocation,
) -> InvocationResponse {
    let messages = invocation.records.into_iter().map(SqsMessage::from).collect();
    let settled = handle(queue, clock, handler, messages).await;
    let failures = settled.again.into_iter().map(|message| ItemFailure { id: message.id });
    InvocationResponse { failures: failures.collect() }
}
