use shared::config::Settings;

/// Number of seeds and first seed of a random test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub count: u64,
    pub seed: u64,
}

impl Scale {
    /// Reads `VITRINA_TEST_COUNT` and `VITRINA_TEST_SEED`, which default to `count` and `seed`.
    pub fn asked(count: u64, seed: u64) -> Self {
        let mut settings = Settings::from_env();
        let scale = Self {
            count: settings.or("VITRINA_TEST_COUNT", count),
            seed: settings.or("VITRINA_TEST_SEED", seed),
        };
        settings.finish(scale).unwrap()
    }

    /// The seeds, in order.
    pub fn seeds(self) -> std::ops::Range<u64> {
        self.seed..self.seed.saturating_add(self.count)
    }
}
