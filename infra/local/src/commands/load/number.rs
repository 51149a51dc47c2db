//! Figures: from counts and times to rates and latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A count as a figure. Counts here are far below 2^53, where a float is exact.
#[expect(clippy::cast_precision_loss, reason = "counts of things that were measured are small")]
pub fn figure(count: u64) -> f64 {
    count as f64
}

/// How many a second.
pub fn rate(count: u64, took: Duration) -> f64 {
    figure(count) / took.as_secs_f64().max(f64::EPSILON)
}

/// The longest latency that is kept as it was, in microseconds.
const LONGEST: u64 = 600_000_000;

/// Latencies, kept in microseconds with three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "these bounds and three digits are always possible")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are possible"))
    }

    pub fn record(&mut self, took: Duration) {
        self.record_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn record_micros(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so there is nothing that does not fit.
        let _ = self.0.add(&other.0);
    }

    /// How many were kept.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in milliseconds that `part` (0 to 1) of all were below.
    pub fn quantile(&self, part: f64) -> f64 {
        figure(self.0.value_at_quantile(part)) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_a_second() {
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
