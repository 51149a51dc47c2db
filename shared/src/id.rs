//! Identifiers are an input, like time.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::{Builder, Uuid};

/// A source of new identifiers: `UUIDv7` (RFC 9562), which sort by creation time.
#[derive(Clone, Debug, Default)]
pub enum Ids {
    /// Random, from a generator per thread that the operating system seeds.
    #[default]
    System,
    /// The same sequence for the same seed.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Ids {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Makes an identifier with the timestamp `now`.
    pub fn next(&self, now: DateTime<Utc>) -> Uuid {
        let mut random = [0; 10];
        match self {
            Self::System => rand::rng().fill_bytes(&mut random),
            Self::Seeded(rng) => {
                rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut random);
            }
        }
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Parses an identifier in its hyphenated form of 36 characters. Other UUID notations (`urn:uuid:`,
/// braces, no hyphens) are refused, so that each resource has one URL.
pub fn read(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_by_creation_time() {
        let ids = Ids::seeded(7);
        let earlier = ids.next(DateTime::from_timestamp_millis(1_000).unwrap());
        let later = ids.next(DateTime::from_timestamp_millis(1_001).unwrap());
        assert!(earlier < later);
        assert_eq!(earlier.get_version_num(), 7);
    }

    #[test]
    fn only_the_hyphenated_form_is_parsed() {
        let text = "019b0000-0000-7000-8000-000000000007";
        let id = Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0007);
        assert_eq!(read(text), Some(id));
        let simple = text.replace('-', "");
        for other in [format!("urn:uuid:{text}"), format!("{{{text}}}"), simple, String::new()] {
            assert_eq!(read(&other), None, "{other}");
        }
    }

    #[test]
    fn same_seed_gives_same_identifiers() {
        let now = DateTime::from_timestamp_millis(1_000).unwrap();
        assert_eq!(Ids::seeded(7).next(now), Ids::seeded(7).next(now));
        assert_ne!(Ids::seeded(7).next(now), Ids::seeded(8).next(now));
    }
}
