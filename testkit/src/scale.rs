use shared::config::Settings;

/// How much a random test does, and from which seed: little in every run, as much as is asked for
/// on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub count: u64,
    pub seed: u64,
}

impl Scale {
    /// What `VITRINA_TEST_COUNT` and `VITRINA_TEST_SEED` ask for, or else `count` from `seed` on.
    pub fn asked(count: u64, seed: u64) -> Self {
        let mut settings = Settings::from_env();
        let scale = Self {
            count: settings.or("VITRINA_TEST_COUNT", count),
            seed: settings.or("VITRINA_TEST_SEED", seed),
        };
        settings.finish(scale).unwrap()
    }

    /// The seeds, one after the other.
    pub fn seeds(self) -> std::ops::Range<u64> {
        self.seed..self.seed.saturating_add(self.count)
    }
}
