//! The number of messages in a queue, as SQS counts them: approximate and delayed.

use aws_sdk_sqs::types::QueueAttributeName;

use super::sqs::SqsQueue;
use crate::bus::sqs_error::{SqsError, during};

/// The approximate number of messages in a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Messages that can be received now.
    pub(super) visible: i64,
    /// Messages that are in flight or delayed.
    pub(super) hidden: i64,
}

impl SqsQueue {
    /// The counts of the queue and of its dead letters.
    pub(super) async fn counts(&self) -> Result<[Counts; 2], SqsError> {
        const VISIBLE: QueueAttributeName = QueueAttributeName::ApproximateNumberOfMessages;
        const HIDDEN: [QueueAttributeName; 2] = [
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let mut counts = [Counts::default(); 2];
        for (counts, url) in counts.iter_mut().zip([self.url(), self.dead_letters()]) {
            let response = self
                .client
                .get_queue_attributes()
                .queue_url(url)
                .set_attribute_names(Some([&[VISIBLE][..], &HIDDEN].concat()))
                .send()
                .await
                .map_err(during("counting messages"))?;
            let attributes = response.attributes.unwrap_or_default();
            let count = |name: &QueueAttributeName| {
                let count = attributes.get(name).and_then(|count| count.parse::<i64>().ok());
                count.ok_or("SQS left out a number").map_err(during("counting messages"))
            };
            *counts = Counts {
                visible: count(&VISIBLE)?,
                hidden: count(&HIDDEN[0])? + count(&HIDDEN[1])?,
            };
        }
        Ok(counts)
    }
}
