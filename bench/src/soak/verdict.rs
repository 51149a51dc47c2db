//! What a minute was like, and what all of them come to. Pure.

use std::fmt;

use super::load::LoadStats;
use super::monitor::{Observed, Reconciliation};
use crate::number::median;
use crate::server::Memory;

/// What memory may grow by after the warm-up, as a part of what it was, and in MiB.
const GROWTH: f64 = 0.25;
const GROWTH_MIB: f64 = 32.0;

/// A minute.
#[derive(Clone, Debug)]
pub(crate) struct Minute {
    nth: u64,
    answered: u64,
    errors: u64,
    error: Option<String>,
    p99_ms: f64,
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    memory: f64,
    watched: Observed,
}

impl Minute {
    pub(crate) const HEADER: &str = "minute  answered  errors  p99 ms  lag p50 ms  lag p99 ms  \
                                     RSS MiB  outbox  oldest s  queue  dead  drift";

    pub(crate) fn new(nth: u64, driven: LoadStats, watched: Observed, memory: Memory) -> Self {
        Self {
            nth,
            answered: driven.answered,
            errors: driven.errors + watched.errors,
            error: driven.error.or_else(|| watched.error.clone()),
            p99_ms: driven.latencies.quantile(0.99),
            lag_p50_ms: driven.lags.quantile(0.5),
            lag_p99_ms: driven.lags.quantile(0.99),
            memory: memory.now,
            watched,
        }
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nth, answered, errors, p99_ms, lag_p50_ms, lag_p99_ms, memory, .. } = self;
        let Observed { pending, age, queued, dead, differences, reconciliations, .. } =
            &self.watched;
        let drift = if *reconciliations > 0 { differences.to_string() } else { "-".to_owned() };
        write!(
            f,
            "{nth:>6}  {answered:>8}  {errors:>6}  {p99_ms:>6.1}  {lag_p50_ms:>10.1}  \
             {lag_p99_ms:>10.1}  {memory:>7.1}  {pending:>6}  {age:>8.1}  {queued:>5}  {dead:>4}  \
             {drift:>5}"
        )?;
        match &self.error {
            Some(error) => write!(f, "  {error}"),
            None => Ok(()),
        }
    }
}

/// All minutes.
#[derive(Debug, Default)]
pub(crate) struct Soak {
    minutes: Vec<Minute>,
    pub(crate) kills: u64,
    end: Option<FinalState>,
}

/// What was found at rest.
#[derive(Debug)]
struct FinalState {
    /// Products that were created and answered.
    created: u64,
    errors: u64,
    dead: i64,
    compared: Reconciliation,
}

impl Soak {
    pub(crate) fn add(&mut self, minute: Minute) {
        self.minutes.push(minute);
    }

    pub(crate) fn add_end(
        &mut self,
        driven: &LoadStats,
        (watched, compared): (Observed, Reconciliation),
    ) {
        let (created, errors, dead) = (driven.created, driven.errors, watched.dead);
        self.end = Some(FinalState { created, errors, dead, compared });
    }

    /// A line for everything that is judged, and whether all of it is good.
    pub(crate) fn verdict(&self) -> (String, bool) {
        let mut lines = Vec::new();
        let mut judge = |is_good: bool, what: String| {
            lines.push((is_good, format!("{} {what}", if is_good { "ok  " } else { "FAIL" })));
        };
        let sum = |of: fn(&Minute) -> u64| self.minutes.iter().map(of).sum::<u64>();
        let errors = sum(|minute| minute.errors) + self.end.as_ref().map_or(0, |end| end.errors);
        let answered = sum(|minute| minute.answered);
        judge(errors == 0, format!("{answered} requests, {} kills, {errors} errors", self.kills));
        let runs = sum(|minute| minute.watched.reconciliations);
        let differences: i64 = self.minutes.iter().map(|m| m.watched.differences).sum();
        // They come every two minutes: in five without one something holds them up.
        let is_compared = runs > 0 || self.minutes.len() < 5;
        judge(
            is_compared && differences == 0,
            format!("{runs} reconciliations under load, {differences} differences"),
        );
        match &self.end {
            Some(FinalState { created, dead, compared, .. }) => {
                judge(*dead == 0, format!("{dead} dead letters"));
                let (found, moving) = (compared.differences(), compared.moving);
                judge(
                    found == 0 && moving == 0,
                    format!("at rest, every document hashed again: {found} differences"),
                );
                let there = compared.products;
                judge(there >= *created, format!("{created} products acknowledged, {there} there"));
            }
            None => judge(false, "it did not come to its end".to_owned()),
        }
        match growth(&self.minutes.iter().map(|minute| minute.memory).collect::<Vec<_>>()) {
            Some((before, after)) => judge(
                after <= before * (1.0 + GROWTH) + GROWTH_MIB,
                format!("memory: {before:.0} MiB after the warm-up, {after:.0} MiB at the end"),
            ),
            None => judge(true, "memory: too short to judge".to_owned()),
        }
        let is_good = lines.iter().all(|(is_good, _)| *is_good);
        let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        (lines.join("\n"), is_good)
    }
}

/// Memory in the fifth of the time behind the first, which is the warm-up, and in the last one.
fn growth(memory: &[f64]) -> Option<(f64, f64)> {
    let fifth = memory.len() / 5;
    if fifth == 0 {
        return None;
    }
    Some((median(&memory[fifth..fifth * 2])?, median(&memory[memory.len() - fifth..])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::figure;

    fn minute(memory: f64, watched: Observed) -> Minute {
        let memory = Memory { now: memory, peak: memory };
        Minute::new(1, LoadStats { answered: 10, ..LoadStats::default() }, watched, memory)
    }

    fn course(memory: impl Fn(usize) -> f64) -> Soak {
        course_with(1, memory)
    }

    /// A course with so many reconciliations a minute.
    fn course_with(reconciliations: u64, memory: impl Fn(usize) -> f64) -> Soak {
        let mut course = Soak::default();
        for nth in 0..50 {
            let watched = Observed { reconciliations, ..Observed::default() };
            course.add(minute(memory(nth), watched));
        }
        let compared = r#"{"id":"00000000-0000-0000-0000-000000000001","state":"finished",
            "compared":7,"missing":0,"stale":0,"ahead":0,"extra":0,"altered":0,"stock":0,"moving":0}"#;
        let compared = serde_json::from_str(compared).unwrap();
        let driven = LoadStats { created: 7, ..LoadStats::default() };
        course.add_end(&driven, (Observed::default(), compared));
        course
    }

    #[test]
    fn a_course_in_which_nothing_was_compared_shows_nothing() {
        let (verdict, is_good) = course_with(0, |_| 50.0).verdict();
        assert!(!is_good && verdict.contains("FAIL 0 reconciliations"), "{verdict}");
    }

    #[test]
    fn memory_may_grow_in_the_warm_up_and_hardly_after_it() {
        let (verdict, is_good) = course(|nth| if nth < 10 { 50.0 } else { 300.0 }).verdict();
        assert!(is_good, "{verdict}");
        let leaking = |nth| 100.0 + 5.0 * figure(u64::try_from(nth).unwrap());
        let (verdict, is_good) = course(leaking).verdict();
        assert!(!is_good && verdict.contains("FAIL memory"), "{verdict}");
    }

    #[test]
    fn whatever_went_wrong_once_spoils_the_verdict() {
        let spoil: [fn(&mut Soak); 5] = [
            |course| course.minutes[3].errors = 1,
            |course| course.minutes[3].watched.differences = 1,
            |course| course.end.as_mut().unwrap().dead = 1,
            |course| course.end.as_mut().unwrap().compared.moving = 1,
            |course| course.end.as_mut().unwrap().created = 8,
        ];
        for spoil in spoil {
            let mut course = course(|_| 100.0);
            spoil(&mut course);
            assert!(!course.verdict().1);
        }
        assert!(!Soak::default().verdict().1);
    }
}
