//! The settings that name queues of SQS and their dead letters.

use std::str::FromStr;

use crate::config::Settings;
use crate::contract::routes::{self, Route};

/// The URLs of a queue and of its dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsConfig {
    pub queue: String,
    pub dead_letters: String,
}

/// The URLs of every queue of a table of routes, by its name, in the order of the routes.
pub type SqsQueues = Vec<(&'static str, SqsConfig)>;

/// The settings of the one queue that a process consumes.
const NAMES: [&str; 2] = ["VITRINA_QUEUE_URL", "VITRINA_DEAD_LETTER_QUEUE_URL"];

/// The settings of every queue begin with these and end in [`suffix`].
const PREFIXES: [&str; 2] = ["VITRINA_QUEUE_URL_", "VITRINA_DEAD_LETTER_QUEUE_URL_"];

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

    /// Reads `VITRINA_QUEUE_URL_<QUEUE>` and `VITRINA_DEAD_LETTER_QUEUE_URL_<QUEUE>` for every queue
    /// of `routes`.
    ///
    /// A function requires all of them, and so does a process that has any setting of a queue on SQS,
    /// also that of a consumer: with some of them, operators would miss dead letters. `None` for
    /// another process: its queues are in PostgreSQL.
    pub fn read_all(settings: &mut Settings, routes: &[Route]) -> Option<SqsQueues> {
        let expected: Vec<(&'static str, [String; 2])> = routes::queues(routes)
            .into_iter()
            .map(|queue| (queue, PREFIXES.map(|prefix| format!("{prefix}{}", suffix(queue)))))
            .collect();
        let is_of_a_queue = |name: &&str| {
            NAMES.contains(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        let set: Vec<String> =
            settings.names().filter(is_of_a_queue).map(ToOwned::to_owned).collect();
        if set.is_empty() && !settings.is_function() {
            return None;
        }
        let is_known = |name: &String| {
            NAMES.contains(&name.as_str()) || expected.iter().any(|(_, names)| names.contains(name))
        };
        for name in set.iter().filter(|name| !is_known(name)) {
            let queues = routes::queues(routes).join(", ");
            settings.fault(format!("{name} belongs to no queue; the queues are {queues}"));
        }
        let read = |(queue, names): (&'static str, [String; 2])| {
            let [url, dead_letters] = names.map(|name| settings.required::<QueueUrl>(&name).0);
            (queue, Self { queue: url, dead_letters })
        };
        Some(expected.into_iter().map(read).collect())
    }
}

/// A queue's name at the end of its settings: `CATALOG` for `catalog`.
fn suffix(queue: &str) -> String {
    queue.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::routes::Types;

    const ROUTES: &[Route] = &[
        Route { queue: "catalog", source: "test/shop", types: Types::All },
        Route { queue: "order-mail", source: "test/shop", types: Types::All },
    ];

    const ALL: [(&str, &str); 4] = [
        ("VITRINA_QUEUE_URL_CATALOG", "http://127.0.0.1/1/c"),
        ("VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG", "http://127.0.0.1/1/c-dead"),
        ("VITRINA_QUEUE_URL_ORDER_MAIL", "http://127.0.0.1/1/m"),
        ("VITRINA_DEAD_LETTER_QUEUE_URL_ORDER_MAIL", "http://127.0.0.1/1/m-dead"),
    ];

    fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut settings = Settings::from_pairs(pairs.iter().copied());
        let read = SqsConfig::read_all(&mut settings, ROUTES);
        settings.finish(read).unwrap_err().faults
    }

    #[test]
    fn every_queue_of_the_routes_is_read_by_its_name() {
        let mut settings = Settings::from_pairs(ALL);
        let read = SqsConfig::read_all(&mut settings, ROUTES);
        let config = |queue: &str| SqsConfig {
            queue: format!("http://127.0.0.1/1/{queue}"),
            dead_letters: format!("http://127.0.0.1/1/{queue}-dead"),
        };
        let expected = vec![("catalog", config("c")), ("order-mail", config("m"))];
        assert_eq!(settings.finish(read).unwrap(), Some(expected));
    }

    #[test]
    fn missing_queue_is_a_fault() {
        assert_eq!(
            faults(&ALL[..2]),
            [
                "VITRINA_QUEUE_URL_ORDER_MAIL is not set",
                "VITRINA_DEAD_LETTER_QUEUE_URL_ORDER_MAIL is not set"
            ]
        );
        assert_eq!(faults(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")]).len(), 4);
    }

    #[test]
    fn queue_of_a_consumer_is_not_enough_for_operators() {
        assert_eq!(faults(&[("VITRINA_QUEUE_URL", "http://127.0.0.1/1/c")]).len(), 4);
    }

    #[test]
    fn unknown_queue_is_a_fault() {
        let unknown = ("VITRINA_QUEUE_URL_RETURNS", "http://127.0.0.1/1/r");
        assert_eq!(
            faults(&[&ALL[..], &[unknown]].concat()),
            ["VITRINA_QUEUE_URL_RETURNS belongs to no queue; the queues are catalog, order-mail"]
        );
    }

    #[test]
    fn process_without_settings_of_queues_uses_postgres() {
        let mut settings = Settings::from_pairs([("VITRINA_ROLE", "api")]);
        assert_eq!(SqsConfig::read_all(&mut settings, ROUTES), None);
        settings.finish(()).unwrap();
    }
}
