//! Calls about many messages at once: as many as SQS takes, and of every batch each entry's own
//! result is read.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};

use super::sqs::{BATCH, SqsError, SqsQueue, while_};
use crate::telemetry;

/// The most bytes that are sent at once. SQS takes more by now, where nobody has set a lower limit.
const BATCH_BYTES: usize = 256 * 1024;

/// What is to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    pub(super) delay: Duration,
}

impl SqsQueue {
    /// Sends messages, and says of each whether SQS has it.
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
                    entries.collect::<Result<_, _>>().map_err(while_("making entries"))?;
                let call = self.client.send_message_batch().queue_url(url);
                let answer = call.set_entries(Some(entries)).send().await;
                let answer = answer.map_err(while_("sending messages"))?;
                let sent = answer.successful.into_iter().map(|entry| entry.id);
                Ok((sent.collect(), answer.failed))
            };
            results.extend(each("sending a message", count, sending.await));
        }
        results
    }

    /// Deletes messages by their receipts, and says of each whether SQS did.
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
                    entries.collect::<Result<_, _>>().map_err(while_("making entries"))?;
                let call = self.client.delete_message_batch().queue_url(url);
                let answer = call.set_entries(Some(entries)).send().await;
                let answer = answer.map_err(while_("deleting messages"))?;
                let deleted = answer.successful.into_iter().map(|entry| entry.id);
                Ok((deleted.collect(), answer.failed))
            };
            results.extend(each("deleting a message", some.len(), deleting.await));
        }
        results
    }

    /// Says when messages are seen again. Where that fails, they are at the end of their time.
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
                Ok(answer) => answer.failed.first().map(fault),
                Err(error) => Some(telemetry::causes(&error)),
            };
            if let Some(error) = failed {
                tracing::debug!(error, "messages come again at the end of their time");
            }
        }
    }
}

impl Sending {
    fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            name.len() + value.data_type().len() + value.string_value().map_or(0, str::len)
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// How many messages of these sizes go together, one batch after the other.
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

/// The result of each entry of a batch, by its place, which is its id.
fn each(
    doing: &'static str,
    count: usize,
    answer: Result<(Vec<String>, Vec<BatchResultErrorEntry>), SqsError>,
) -> Vec<Result<(), SqsError>> {
    let (done, failed) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let error = telemetry::causes(&error);
            return (0..count).map(|_| Err(while_(doing)(error.as_str()))).collect();
        }
    };
    let result = |nth: usize| {
        let id = nth.to_string();
        if done.contains(&id) {
            return Ok(());
        }
        let why = failed.iter().find(|entry| entry.id == id).map(fault);
        Err(while_(doing)(why.unwrap_or_else(|| "no entry of the answer is about it".to_owned())))
    };
    (0..count).map(result).collect()
}

fn fault(entry: &BatchResultErrorEntry) -> String {
    format!("{}: {}", entry.code, entry.message.as_deref().unwrap_or("it says no more"))
}

/// Whole seconds, rounded up: SQS has no others.
pub(super) fn seconds(duration: Duration) -> i32 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs() + up).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_in_tens_and_no_batch_is_too_large() {
        assert_eq!(batches(&[1; 23]), [10, 10, 3]);
        let half = BATCH_BYTES / 2;
        assert_eq!(batches(&[half, half, 1, BATCH_BYTES, 1]), [2, 1, 1, 1]);
        assert_eq!(batches(&[]), Vec::<usize>::new());
    }
}
