//! Rates and latencies from counts and times.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A count as a float. Counts here are far below 2^53, up to which a float is exact.
#[expect(clippy::cast_precision_loss, reason = "measured counts are far below 2^53")]
pub fn figure(count: u64) -> f64 {
    count as f64
}

/// A count per second.
pub fn rate(count: u64, took: Duration) -> f64 {
    figure(count) / took.as_secs_f64().max(f64::EPSILON)
}

/// The longest latency in microseconds; longer ones are recorded as this.
const LONGEST: u64 = 600_000_000;

/// A histogram of latencies in microseconds, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants and valid")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("valid bounds"))
    }

    pub fn record(&mut self, took: Duration) {
        self.record_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn record_micros(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    pub fn add(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// The number of recorded latencies.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in milliseconds that a fraction `part` (0 to 1) of all did not exceed.
    pub fn quantile(&self, part: f64) -> f64 {
        figure(self.0.value_at_quantile(part)) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_count_per_second() {
        assert!((rate(500, Duration::from_millis(250)) - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_milliseconds() {
        let mut latencies = Latencies::new();
        (1..=100).for_each(|micros| latencies.record_micros(micros * 1000));
        assert!((latencies.quantile(0.5) - 50.0).abs() < 0.1, "{}", latencies.quantile(0.5));
        assert!((latencies.quantile(0.99) - 99.0).abs() < 0.2, "{}", latencies.quantile(0.99));
    }
}
