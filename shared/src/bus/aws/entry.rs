//! Entries of batch calls to SQS.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;

/// Maximum number of messages in one call to SQS.
pub(super) const BATCH: usize = 10;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    pub(super) delay: Duration,
}

impl Sending {
    /// Size in bytes, as SQS counts it.
    pub(super) fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            name.len() + value.data_type().len() + value.string_value().map_or(0, str::len)
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// Seconds, rounded up: SQS accepts only whole ones.
pub(super) fn seconds(duration: Duration) -> i32 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs() + up).unwrap_or(i32::MAX)
}
