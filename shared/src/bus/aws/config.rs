//! The settings that name a queue of SQS and its dead letters.

use std::str::FromStr;

use crate::config::Settings;

/// The URLs of a queue and of its dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsConfig {
    pub queue: String,
    pub dead_letters: String,
}

/// The settings of the one queue that a process consumes or manages.
const NAMES: [&str; 2] = ["VITRINA_QUEUE_URL", "VITRINA_DEAD_LETTER_QUEUE_URL"];

/// The URL of a queue.
#[derive(Default)]
struct QueueUrl(String);

impl FromStr for QueueUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = reqwest::Url::parse(text).map_err(|_| "must be the URL of a queue")?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.path().len() > 1;
        if is_http { Ok(Self(text.to_owned())) } else { Err("must be the URL of a queue") }
    }
}

impl SqsConfig {
    /// `VITRINA_QUEUE_URL` and `VITRINA_DEAD_LETTER_QUEUE_URL`: both or neither.
    pub fn read(settings: &mut Settings) -> Option<Self> {
        let [one, other] = NAMES.map(|name| settings.text(name).is_some());
        match (one, other) {
            (true, true) => Some(Self::required(settings)),
            (false, false) => None,
            (one, _) => {
                let [set, other] = if one { NAMES } else { [NAMES[1], NAMES[0]] };
                settings.fault(format!("{other} is not set, and {set} is"));
                None
            }
        }
    }

    /// Requires both settings, for a function: it cannot work without them.
    pub fn required(settings: &mut Settings) -> Self {
        let [queue, dead_letters] = NAMES.map(|name| settings.required::<QueueUrl>(name).0);
        Self { queue, dead_letters }
    }
}
