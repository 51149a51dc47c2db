//! Where the time goes in what misses its goal: profiles that somebody took, next to the figures.

use crate::goal::Row;

/// What is known, by goal. A profile is taken anew by who changes what it is about.
const PROFILES: [(&str, &str); 5] = [
    ("P4", include_str!("../profiles/p4.md")),
    ("P5", include_str!("../profiles/p5.md")),
    ("P8", include_str!("../profiles/p8.md")),
    ("P14", include_str!("../profiles/p14.md")),
    ("P17", include_str!("../profiles/p17.md")),
];

/// A section with the profile of each goal that was missed, if there are any.
pub(crate) fn of_missed(rows: &[Row]) -> String {
    let missed = |id| rows.iter().any(|row| row.id == id && row.met == Some(false));
    let known = PROFILES.iter().filter(|(id, _)| missed(*id));
    let sections: Vec<String> =
        known.map(|(id, profile)| format!("\n### {id}\n\n{profile}")).collect();
    if sections.is_empty() {
        return String::new();
    }
    format!("\n## Where the time goes in what was missed\n{}", sections.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goal::{Bound, Figure, Measure, Sample, Stat, judge};

    #[test]
    fn a_goal_that_was_missed_shows_its_profile_and_one_that_was_met_does_not() {
        let row = |id, ours| {
            let samples = vec![Sample::new(Stat::of(10.0), Stat::of(ours))];
            let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.8)];
            judge(id, &Figure { bounds, samples, ..Figure::default() })
        };
        let shown = of_missed(&[row("P5", 5.0), row("P14", 9.0)]);
        assert!(shown.contains("### P5") && !shown.contains("### P14"), "{shown}");
        assert_eq!(of_missed(&[row("P5", 9.0)]), "");
    }
}
