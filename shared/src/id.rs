//! Identifiers are an input, as time is.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::{Builder, Uuid};

/// Where new identifiers come from: `UUIDv7` (RFC 9562), so that they sort by creation.
#[derive(Clone, Debug, Default)]
pub enum Ids {
    /// Random from the operating system, as seeded per thread.
    #[default]
    System,
    /// The same identifiers for the same seed; for tests.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Ids {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A new identifier made at `now`.
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

/// Reads an identifier as it is written here and in the API's description: 36 characters, of which
/// four are hyphens. The other forms that stand for the same (`urn:uuid:`, braces, no hyphens) are
/// none: one thing has one address.
pub fn read(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_by_the_time_they_were_made_at() {
        let ids = Ids::seeded(7);
        let earlier = ids.next(DateTime::from_timestamp_millis(1_000).unwrap());
        let later = ids.next(DateTime::from_timestamp_millis(1_001).unwrap());
        assert!(earlier < later);
        assert_eq!(earlier.get_version_num(), 7);
    }

    #[test]
    fn an_identifier_is_written_in_one_way() {
        let text = "019b0000-0000-7000-8000-000000000007";
        let id = Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0007);
        assert_eq!(read(text), Some(id));
        let simple = text.replace('-', "");
        for other in [format!("urn:uuid:{text}"), format!("{{{text}}}"), simple, String::new()] {
            assert_eq!(read(&other), None, "{other}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_identifiers() {
        let now = DateTime::from_timestamp_millis(1_000).unwrap();
        assert_eq!(Ids::seeded(7).next(now), Ids::seeded(7).next(now));
        assert_ne!(Ids::seeded(7).next(now), Ids::seeded(8).next(now));
    }
}
