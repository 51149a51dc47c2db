//! Batch calls to SQS: as large as SQS accepts, with a separate result for each entry.

use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};

use super::entry::{BATCH, Sending, seconds};
use super::sqs::SqsQueue;
use crate::bus::sqs_error::{SqsError, during};
use crate::telemetry;

/// Maximum size of a batch, in bytes. SQS now accepts more, unless the queue has a lower limit.
const BATCH_BYTES: usize = 256 * 1024;

impl SqsQueue {
    /// Sends messages and returns one result for each.
    pub(super) async fn send(
        &self,
        url: &str,
        sendings: Vec<Sending>,
    ) -> Vec<Result<(), SqsError>> {
        let sizes: Vec<usize> = sendings.iter().map(Sending::bytes).collect();
        let mut sendings = sendings.into_iter();
        let mut results = Vec::with_capacity(sizes.len());
        for count in batches(&sizes) {
            let entries = sendings.by_ref().take(count).enumerate().map(|(nth, sending)| {
                SendMessageBatchRequestEntry::builder()
                    .id(nth.to_string())
                    .message_body(sending.body)
                    .set_message_attributes(Some(sending.attributes).filter(|all| !all.is_empty()))
                    .delay_seconds(seconds(sending.delay))
                    .build()
            });
            let sending = async {
                let entries =
                    entries.collect::<Result<_, _>>().map_err(during("building entries"))?;
                let call = self.client.send_message_batch().queue_url(url);
                let response = call.set_entries(Some(entries)).send().await;
                let response = response.map_err(during("sending messages"))?;
                let sent = response.successful.into_iter().map(|entry| entry.id);
                Ok((sent.collect(), response.failed))
            };
            results.extend(each("sending a message", count, sending.await));
        }
        results
    }

    /// Deletes messages by their receipts and returns one result for each.
    pub(super) async fn delete_from(
        &self,
        url: &str,
        receipts: Vec<String>,
    ) -> Vec<Result<(), SqsError>> {
        let mut results = Vec::with_capacity(receipts.len());
        for some in receipts.chunks(BATCH) {
            let entries = some.iter().enumerate().map(|(nth, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(nth.to_string())
                    .receipt_handle(receipt)
                    .build()
            });
            let deleting = async {
                let entries =
                    entries.collect::<Result<_, _>>().map_err(during("building entries"))?;
                let call = self.client.delete_message_batch().queue_url(url);
                let response = call.set_entries(Some(entries)).send().await;
                let response = response.map_err(during("deleting messages"))?;
                let deleted = response.successful.into_iter().map(|entry| entry.id);
                Ok((deleted.collect(), response.failed))
            };
            results.extend(each("deleting a message", some.len(), deleting.await));
        }
        results
    }

    /// Sets when messages become visible again. If that fails, they become visible at the end of
    /// their visibility timeout.
    pub(super) async fn change_visibility(&self, url: &str, receipts: Vec<(String, Duration)>) {
        for some in receipts.chunks(BATCH) {
            let entries = some.iter().enumerate().filter_map(|(nth, (receipt, visibility))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(nth.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(seconds(*visibility))
                    .build()
                    .ok()
            });
            let call = self.client.change_message_visibility_batch().queue_url(url);
            let failed = match call.set_entries(Some(entries.collect())).send().await {
                Ok(response) => response.failed.first().map(fault),
                Err(error) => Some(telemetry::causes(&error)),
            };
            if let Some(error) = failed {
                tracing::debug!(
                    error,
                    "messages are redelivered at the end of their visibility timeout"
                );
            }
        }
    }
}

/// The number of messages in each batch, for messages of these sizes.
fn batches(sizes: &[usize]) -> Vec<usize> {
    let (mut batches, mut bytes) = (Vec::<usize>::new(), 0);
    for size in sizes {
        match batches.last_mut() {
            Some(count) if *count < BATCH && bytes + size <= BATCH_BYTES => {
                *count += 1;
                bytes += size;
            }
            _ => {
                batches.push(1);
                bytes = *size;
            }
        }
    }
    batches
}

/// The result of each entry of a batch. The id of an entry is its index.
fn each(
    doing: &'static str,
    count: usize,
    response: Result<(Vec<String>, Vec<BatchResultErrorEntry>), SqsError>,
) -> Vec<Result<(), SqsError>> {
    let (done, failed) = match response {
        Ok(response) => response,
        Err(error) => {
            let error = telemetry::causes(&error);
            return (0..count).map(|_| Err(during(doing)(error.as_str()))).collect();
        }
    };
    let result = |nth: usize| {
        let id = nth.to_string();
        if done.contains(&id) {
            return Ok(());
        }
        let why = failed.iter().find(|entry| entry.id == id).map(fault);
        Err(during(doing)(why.unwrap_or_else(|| "the response has no entry for it".to_owned())))
    };
    (0..count).map(result).collect()
}

fn fault(entry: &BatchResultErrorEntry) -> String {
    format!("{}: {}", entry.code, entry.message.as_deref().unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_at_most_ten_messages_and_256_kib() {
        assert_eq!(batches(&[1; 23]), [10, 10, 3]);
        let half = BATCH_BYTES / 2;
        assert_eq!(batches(&[half, half, 1, BATCH_BYTES, 1]), [2, 1, 1, 1]);
        assert_eq!(batches(&[]), Vec::<usize>::new());
    }
}
