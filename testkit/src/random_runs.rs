use shared::config::Settings;

/// Number of seeds and first seed of a random test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomRuns {
    pub count: u64,
    pub seed: u64,
}

impl RandomRuns {
    /// Reads `VITRINA_TEST_COUNT` and `VITRINA_TEST_SEED`, which default to `count` and `seed`.
    pub fn from_env(count: u64, seed: u64) -> Self {
        let mut settings = Settings::from_env();
        let runs = Self {
            count: settings.or("VITRINA_TEST_COUNT", count),
            seed: settings.or("VITRINA_TEST_SEED", seed),
        };
        settings.finish(runs).unwrap()
    }

    /// The seeds, in order.
    pub fn seeds(self) -> std::ops::Range<u64> {
        self.seed..self.seed.saturating_add(self.count)
    }
}
