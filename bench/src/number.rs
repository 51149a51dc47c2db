//! Figures: from counts to rates, and what of several is shown.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A count as a figure. Counts here are far below 2^53, where a float is exact.
#[expect(clippy::cast_precision_loss, reason = "counts of things that were measured are small")]
pub(crate) fn figure(count: u64) -> f64 {
    count as f64
}

/// How many a second.
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    figure(count) / took.as_secs_f64().max(f64::EPSILON)
}

/// The value in the middle; of an even number of values the mean of both in the middle. `None` of
/// none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?))
    }
}

/// The least and the greatest. `None` of none.
pub(crate) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let greatest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// The longest latency that is kept as it was, in microseconds.
const LONGEST: u64 = 600_000_000;

/// Latencies, kept in microseconds with three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "these bounds and three digits are always possible")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are possible"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.record_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_micros(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so there is nothing that does not fit.
        let _ = self.0.add(&other.0);
    }

    /// The latency in milliseconds that `part` (0 to 1) of all were below.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        figure(self.0.value_at_quantile(part)) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(range(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
    }

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
