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
    fn the_same_seed_gives_the_same_identifiers() {
        let now = DateTime::from_timestamp_millis(1_000).unwrap();
        assert_eq!(Ids::seeded(7).next(now), Ids::seeded(7).next(now));
        assert_ne!(Ids::seeded(7).next(now), Ids::seeded(8).next(now));
    }
}
