//! How many messages there are, as SQS counts them.

use aws_sdk_sqs::types::QueueAttributeName;

use super::sqs::{SqsError, SqsQueue, while_};

/// How many messages are in a queue, about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Those that can be received now.
    pub(super) visible: i64,
    /// Those that were received, or are not to be yet.
    pub(super) hidden: i64,
}

impl SqsQueue {
    /// What is in the queue, and among its dead letters.
    pub(super) async fn counts(&self) -> Result<[Counts; 2], SqsError> {
        const VISIBLE: QueueAttributeName = QueueAttributeName::ApproximateNumberOfMessages;
        const HIDDEN: [QueueAttributeName; 2] = [
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let mut counts = [Counts::default(); 2];
        for (counts, url) in counts.iter_mut().zip([self.url(), self.dead_letters()]) {
            let answer = self
                .client
                .get_queue_attributes()
                .queue_url(url)
                .set_attribute_names(Some([&[VISIBLE][..], &HIDDEN].concat()))
                .send()
                .await
                .map_err(while_("counting messages"))?;
            let attributes = answer.attributes.unwrap_or_default();
            let count = |name: &QueueAttributeName| {
                let count = attributes.get(name).and_then(|count| count.parse::<i64>().ok());
                count.ok_or("SQS left out a number").map_err(while_("counting messages"))
            };
            *counts = Counts {
                visible: count(&VISIBLE)?,
                hidden: count(&HIDDEN[0])? + count(&HIDDEN[1])?,
            };
        }
        Ok(counts)
    }
}
