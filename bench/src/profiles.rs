//! Profiles of goals that were missed: where their time goes.

use crate::goal::Row;

/// Profiles by goal. They are taken by hand: renew one when the code that it describes changes.
const PROFILES: [(&str, &str); 5] = [
    ("P4", include_str!("../profiles/p4.md")),
    ("P5", include_str!("../profiles/p5.md")),
    ("P8", include_str!("../profiles/p8.md")),
    ("P14", include_str!("../profiles/p14.md")),
    ("P17", include_str!("../profiles/p17.md")),
];

/// A section with the profile of each missed goal. Empty if every goal was met.
pub(crate) fn of_missed(rows: &[Row]) -> String {
    let missed = |id| rows.iter().any(|row| row.id == id && row.met == Some(false));
    let known = PROFILES.iter().filter(|(id, _)| missed(*id));
    let sections: Vec<String> =
        known.map(|(id, profile)| format!("\n### {id}\n\n{profile}")).collect();
    if sections.is_empty() {
        return String::new();
    }
    format!("\n## Where the time goes in missed goals\n{}", sections.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goal::{Bound, Figure, Measure, Sample, Stat, judge};

    #[test]
    fn profile_is_shown_only_for_a_missed_goal() {
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
