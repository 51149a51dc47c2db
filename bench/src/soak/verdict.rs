//! The minutes of a soak and their verdict, as pure functions.

use std::fmt;

use sync::Findings;

use super::load::LoadStats;
use super::monitor::Observed;
use crate::number::median;
use crate::server::Memory;

/// Permitted growth of memory after the warm-up: a fraction, plus MiB.
const GROWTH: f64 = 0.25;
const GROWTH_MIB: f64 = 32.0;

/// The statistics of a minute.
#[derive(Clone, Debug)]
pub(crate) struct Minute {
    nth: u64,
    responses: u64,
    errors: u64,
    error: Option<String>,
    p99_ms: f64,
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    memory: f64,
    observed: Observed,
}

impl Minute {
    pub(crate) const HEADER: &str = "minute  responses  errors  p99 ms  lag p50 ms  lag p99 ms  \
                                     RSS MiB  outbox  oldest s  queue  dead  drift";

    pub(crate) fn new(nth: u64, load: LoadStats, observed: Observed, memory: Memory) -> Self {
        Self {
            nth,
            responses: load.responses,
            errors: load.errors + observed.errors,
            error: load.error.or_else(|| observed.error.clone()),
            p99_ms: load.latencies.quantile(0.99),
            lag_p50_ms: load.lags.quantile(0.5),
            lag_p99_ms: load.lags.quantile(0.99),
            memory: memory.now,
            observed,
        }
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nth, responses, errors, p99_ms, lag_p50_ms, lag_p99_ms, memory, .. } = self;
        let Observed { pending, age, queued, dead, differences, reconciliations, .. } =
            &self.observed;
        let drift = if *reconciliations > 0 { differences.to_string() } else { "-".to_owned() };
        write!(
            f,
            "{nth:>6}  {responses:>9}  {errors:>6}  {p99_ms:>6.1}  {lag_p50_ms:>10.1}  \
             {lag_p99_ms:>10.1}  {memory:>7.1}  {pending:>6}  {age:>8.1}  {queued:>5}  {dead:>4}  \
             {drift:>5}"
        )?;
        match &self.error {
            Some(error) => write!(f, "  {error}"),
            None => Ok(()),
        }
    }
}

/// All minutes and the final state.
#[derive(Debug, Default)]
pub(crate) struct SoakReport {
    minutes: Vec<Minute>,
    pub(crate) kills: u64,
    final_state: Option<FinalState>,
}

/// The state after all changes in flight have arrived.
#[derive(Debug)]
struct FinalState {
    /// Number of acknowledged products.
    created: u64,
    errors: u64,
    dead: i64,
    findings: Findings,
}

impl SoakReport {
    pub(crate) fn add(&mut self, minute: Minute) {
        self.minutes.push(minute);
    }

    pub(crate) fn add_final_state(
        &mut self,
        load: &LoadStats,
        (observed, findings): (Observed, Findings),
    ) {
        let (created, errors, dead) = (load.created, load.errors, observed.dead);
        self.final_state = Some(FinalState { created, errors, dead, findings });
    }

    /// A line for each criterion, and whether all are met.
    pub(crate) fn verdict(&self) -> (String, bool) {
        let mut lines = Vec::new();
        let mut judge = |is_good: bool, what: String| {
            lines.push((is_good, format!("{} {what}", if is_good { "ok  " } else { "FAIL" })));
        };
        let sum = |of: fn(&Minute) -> u64| self.minutes.iter().map(of).sum::<u64>();
        let errors =
            sum(|minute| minute.errors) + self.final_state.as_ref().map_or(0, |state| state.errors);
        let responses = sum(|minute| minute.responses);
        judge(errors == 0, format!("{responses} requests, {} kills, {errors} errors", self.kills));
        let runs = sum(|minute| minute.observed.reconciliations);
        let differences: i64 = self.minutes.iter().map(|m| m.observed.differences).sum();
        // One every two minutes is expected: none in five minutes means that they do not finish.
        let is_compared = runs > 0 || self.minutes.len() < 5;
        judge(
            is_compared && differences == 0,
            format!("{runs} reconciliations under load, {differences} differences"),
        );
        match &self.final_state {
            Some(FinalState { created, dead, findings, .. }) => {
                judge(*dead == 0, format!("{dead} dead letters"));
                let (found, moving) = (findings.differences(), findings.moving);
                judge(
                    found == 0 && moving == 0,
                    format!("{found} differences in the final deep reconciliation"),
                );
                let present = u64::try_from(findings.compared).unwrap_or_default();
                judge(
                    present >= *created,
                    format!("{created} products acknowledged, {present} present"),
                );
            }
            None => judge(false, "the soak did not finish".to_owned()),
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

/// Median memory in the second and in the last fifth of the time. The first fifth is the warm-up.
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

    fn minute(memory: f64, observed: Observed) -> Minute {
        let memory = Memory { now: memory, peak: memory };
        Minute::new(1, LoadStats { responses: 10, ..LoadStats::default() }, observed, memory)
    }

    fn report(memory: impl Fn(usize) -> f64) -> SoakReport {
        report_with(1, memory)
    }

    /// A report with this number of reconciliations in each minute.
    fn report_with(reconciliations: u64, memory: impl Fn(usize) -> f64) -> SoakReport {
        let mut report = SoakReport::default();
        for nth in 0..50 {
            let observed = Observed { reconciliations, ..Observed::default() };
            report.add(minute(memory(nth), observed));
        }
        let findings = Findings { compared: 7, ..Findings::default() };
        let load = LoadStats { created: 7, ..LoadStats::default() };
        report.add_final_state(&load, (Observed::default(), findings));
        report
    }

    #[test]
    fn verdict_is_bad_when_no_reconciliation_ran() {
        let (verdict, is_good) = report_with(0, |_| 50.0).verdict();
        assert!(!is_good && verdict.contains("FAIL 0 reconciliations"), "{verdict}");
    }

    #[test]
    fn memory_may_grow_during_the_warm_up_only() {
        let (verdict, is_good) = report(|nth| if nth < 10 { 50.0 } else { 300.0 }).verdict();
        assert!(is_good, "{verdict}");
        let leaking = |nth| 100.0 + 5.0 * figure(u64::try_from(nth).unwrap());
        let (verdict, is_good) = report(leaking).verdict();
        assert!(!is_good && verdict.contains("FAIL memory"), "{verdict}");
    }

    #[test]
    fn verdict_is_bad_after_a_single_fault() {
        let spoil: [fn(&mut SoakReport); 5] = [
            |report| report.minutes[3].errors = 1,
            |report| report.minutes[3].observed.differences = 1,
            |report| report.final_state.as_mut().unwrap().dead = 1,
            |report| report.final_state.as_mut().unwrap().findings.moving = 1,
            |report| report.final_state.as_mut().unwrap().created = 8,
        ];
        for spoil in spoil {
            let mut report = report(|_| 100.0);
            spoil(&mut report);
            assert!(!report.verdict().1);
        }
        assert!(!SoakReport::default().verdict().1);
    }
}
