//! Judging goals: pure functions from samples to a row of the table.

use std::fmt;

use serde::Serialize;

use crate::number::{median, range};

/// The result of one side of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stat {
    /// In the unit of its figure, usually a rate per second.
    pub(crate) value: f64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Stat {
    /// A value without latencies.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, ..Self::default() }
    }
}

/// One round: the ceiling, if there is one, and Vitrina right after it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) ceiling: Option<Stat>,
    pub(crate) ours: Stat,
}

impl Sample {
    pub(crate) fn new(ceiling: Stat, ours: Stat) -> Self {
        Self { ceiling: Some(ceiling), ours }
    }

    /// A sample without a ceiling.
    pub(crate) fn alone(ours: Stat) -> Self {
        Self { ceiling: None, ours }
    }

    fn ratio(&self) -> Option<f64> {
        let ceiling = self.ceiling?.value;
        (ceiling > 0.0).then(|| self.ours.value / ceiling)
    }
}

/// The quantity that a bound limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Our value divided by the ceiling's.
    Ratio,
    /// Our value, in this unit.
    Value(&'static str),
    /// Milliseconds.
    P50,
    /// Milliseconds.
    P99,
    /// Our median latency minus the ceiling's, in milliseconds.
    P50Above,
    /// Our 99th percentile divided by the ceiling's.
    P99Times,
}

impl Measure {
    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Ratio => sample.ratio(),
            Self::Value(_) => Some(sample.ours.value),
            Self::P50 => sample.ours.p50_ms,
            Self::P99 => sample.ours.p99_ms,
            Self::P50Above => Some(sample.ours.p50_ms? - sample.ceiling?.p50_ms?),
            Self::P99Times => Some(sample.ours.p99_ms? / sample.ceiling?.p99_ms?),
        }
    }
}

/// A limit for the median of a measure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(Measure, f64),
    AtMost(Measure, f64),
}

impl Bound {
    /// Whether the rounds are within the bound. A measure without values is not.
    fn holds(self, samples: &[Sample]) -> bool {
        let (Self::AtLeast(measure, _) | Self::AtMost(measure, _)) = self;
        let values: Vec<f64> = samples.iter().filter_map(|sample| measure.of(sample)).collect();
        median(&values).is_some_and(|value| match self {
            Self::AtLeast(_, least) => value >= least,
            Self::AtMost(_, most) => value <= most,
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, measure, value) = match *self {
            Self::AtLeast(measure, value) => ("≥", measure, value),
            Self::AtMost(measure, value) => ("≤", measure, value),
        };
        match measure {
            Measure::Ratio => write!(f, "ratio {sign} {value:.2}"),
            Measure::Value("") => write!(f, "{sign} {value}"),
            Measure::Value(unit) => write!(f, "{sign} {value} {unit}"),
            Measure::P50 => write!(f, "p50 {sign} {value} ms"),
            Measure::P99 => write!(f, "p99 {sign} {value} ms"),
            Measure::P50Above => write!(f, "p50 {sign} ceiling + {value} ms"),
            Measure::P99Times => write!(f, "p99 {sign} {value} × ceiling"),
        }
    }
}

/// One line of the table, not judged yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure {
    pub(crate) what: String,
    /// The unit of both values.
    pub(crate) unit: &'static str,
    /// Empty if the figure is only informative.
    pub(crate) bounds: Vec<Bound>,
    pub(crate) samples: Vec<Sample>,
    /// A remark below the table.
    pub(crate) note: Option<String>,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// A median over the rounds, like the next four fields.
    pub(crate) ceiling: Option<f64>,
    pub(crate) ours: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Of the ratios of the rounds.
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) ceiling_p50_ms: Option<f64>,
    pub(crate) ceiling_p99_ms: Option<f64>,
    pub(crate) rounds: usize,
    pub(crate) goal: String,
    /// Absent if the figure is only informative.
    pub(crate) met: Option<bool>,
    pub(crate) note: Option<String>,
}

/// Judges a figure.
pub(crate) fn judge(id: &'static str, figure: &Figure) -> Row {
    let samples = &figure.samples;
    let middle = |of: &dyn Fn(&Sample) -> Option<f64>| {
        median(&samples.iter().filter_map(of).collect::<Vec<f64>>())
    };
    let ratios: Vec<f64> = samples.iter().filter_map(Sample::ratio).collect();
    let ends = range(&ratios);
    let bounds: Vec<String> = figure.bounds.iter().map(ToString::to_string).collect();
    let met = figure.bounds.iter().all(|bound| bound.holds(samples));
    Row {
        id,
        what: figure.what.clone(),
        unit: figure.unit,
        ceiling: middle(&|sample| Some(sample.ceiling?.value)),
        ours: middle(&|sample| Some(sample.ours.value)),
        ratio: median(&ratios),
        p50_ms: middle(&|sample| sample.ours.p50_ms),
        p99_ms: middle(&|sample| sample.ours.p99_ms),
        min: ends.map(|(least, _)| least),
        max: ends.map(|(_, greatest)| greatest),
        ceiling_p50_ms: middle(&|sample| sample.ceiling?.p50_ms),
        ceiling_p99_ms: middle(&|sample| sample.ceiling?.p99_ms),
        rounds: samples.len(),
        goal: bounds.join(", "),
        met: (!figure.bounds.is_empty()).then_some(met),
        note: figure.note.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ceiling: f64, ours: f64) -> Sample {
        Sample::new(Stat::of(ceiling), Stat::of(ours))
    }

    fn judged(bounds: Vec<Bound>, samples: Vec<Sample>) -> Row {
        judge("P0", &Figure { bounds, samples, ..Figure::default() })
    }

    #[test]
    fn ratio_is_the_median_of_the_ratios_of_the_rounds() {
        let row = judged(
            vec![Bound::AtLeast(Measure::Ratio, 0.5)],
            vec![round(100.0, 50.0), round(10.0, 9.0), round(1000.0, 400.0)],
        );
        assert_eq!(row.ratio, Some(0.5));
        assert_eq!((row.min, row.max), (Some(0.4), Some(0.9)));
        assert_eq!(row.met, Some(true));
    }

    #[test]
    fn goal_is_met_only_if_every_bound_is_met() {
        let slow = Stat { value: 60.0, p50_ms: Some(1.0), p99_ms: Some(50.0) };
        let ceiling = Stat { value: 100.0, p50_ms: Some(1.0), p99_ms: Some(10.0) };
        let bounds =
            vec![Bound::AtLeast(Measure::Ratio, 0.5), Bound::AtMost(Measure::P99Times, 4.0)];
        let row = judged(bounds.clone(), vec![Sample::new(ceiling, slow)]);
        assert_eq!((row.met, row.ratio), (Some(false), Some(0.6)));
        let quick = Stat { p99_ms: Some(40.0), ..slow };
        assert_eq!(judged(bounds, vec![Sample::new(ceiling, quick)]).met, Some(true));
    }

    #[test]
    fn latency_above_the_ceiling_is_compared_within_a_round() {
        let stat = |p50| Stat { value: 1.0, p50_ms: Some(p50), p99_ms: None };
        let bound = vec![Bound::AtMost(Measure::P50Above, 0.5)];
        // In one round, the disk is slow for both sides.
        let samples = vec![
            Sample::new(stat(0.2), stat(0.6)),
            Sample::new(stat(4.0), stat(4.4)),
            Sample::new(stat(0.2), stat(0.6)),
        ];
        assert_eq!(judged(bound, samples).met, Some(true));
    }

    #[test]
    fn bound_without_a_measurement_is_not_met() {
        assert_eq!(judged(vec![Bound::AtLeast(Measure::Ratio, 0.5)], vec![]).met, Some(false));
        let no_ceiling = vec![Sample::alone(Stat::of(5.0))];
        assert_eq!(judged(vec![Bound::AtLeast(Measure::Ratio, 0.5)], no_ceiling).met, Some(false));
    }

    #[test]
    fn bounds_are_displayed_with_measure_and_unit() {
        let display = |bound: Bound| bound.to_string();
        assert_eq!(display(Bound::AtMost(Measure::Value("MiB"), 128.0)), "≤ 128 MiB");
        assert_eq!(display(Bound::AtMost(Measure::Value(""), 0.0)), "≤ 0");
        assert_eq!(display(Bound::AtMost(Measure::P99Times, 4.0)), "p99 ≤ 4 × ceiling");
        assert_eq!(display(Bound::AtMost(Measure::P50Above, 0.5)), "p50 ≤ ceiling + 0.5 ms");
    }

    #[test]
    fn figure_without_bounds_is_not_judged() {
        assert_eq!(judged(vec![], vec![round(2.0, 1.0)]).met, None);
    }

    #[test]
    fn row_is_written_with_the_documented_field_names() {
        let row = judged(vec![Bound::AtLeast(Measure::Ratio, 0.5)], vec![round(2.0, 1.0)]);
        let json = serde_json::to_value(&row).unwrap();
        for name in
            ["id", "what", "ceiling", "ours", "ratio", "p50_ms", "p99_ms", "goal", "met", "min"]
        {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["goal"], "ratio ≥ 0.50");
        assert_eq!(json["met"], true);
    }
}
