//! No test rests on a duration: it waits for conditions, and bounds on speed are goals of the bench.

use std::path::{Path, PathBuf};

use crate::architecture::rust_files;

/// Folders whose tests are searched.
const FOLDERS: [&str; 6] =
    ["infra/local", "infra/postgres", "services", "shared", "testkit", "bench"];

/// Files with samples of such calls.
const SAMPLES: [&str; 2] = ["it/durations.rs", "intervals/declared.rs"];

/// The calls by which a test waits for time to pass, or measures it. `testkit::eventually` and
/// `testkit::within` take their place.
const CALLS: [&str; 7] = [
    "sleep",
    "sleep_until",
    "timeout",
    "recv_timeout",
    "wait_timeout",
    "Instant::now",
    "Clock::System.now",
];

/// The start of the comment that must precede any other such call. The rest says why the outcome of the
/// test does not depend on how fast the machine is. Paused time passes only while nothing can run.
const REASONS: [&str; 2] = ["// Real time: ", "// Paused time: "];

/// Deadlines that never pass, or have passed already.
const NO_LIMITS: [&str; 4] = [
    "Instant::now() + NO_TIMEOUT",
    "drain(Instant::now())",
    "drain(std::time::Instant::now())",
    "until(Instant::now())",
];

/// The test code of a file, line by line.
fn test_code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let is_test =
        path.components().any(|part| ["tests", "testkit"].iter().any(|it| part.as_os_str() == *it))
            || path.file_name().is_some_and(|name| name == "tests.rs");
    let lines = text.lines().map(ToOwned::to_owned).enumerate();
    if is_test {
        lines.collect()
    } else {
        lines.skip_while(|(_, line)| !line.starts_with("mod tests {")).collect()
    }
}

/// Whether a line calls this function.
fn has_call(line: &str, function: &str) -> bool {
    let call = format!("{function}(");
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(&call).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let is_definition = code[..at].ends_with("fn ");
        !is_definition && before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
    })
}

/// Whether a line makes a relay with the timeouts of production, which a busy machine exceeds.
fn has_timeouts_of_production(lines: &[(usize, String)]) -> bool {
    let has = |text: &str| lines.iter().take(4).any(|(_, line)| line.contains(text));
    lines[0].1.contains("Relay::new(") && !has("with_timeouts(")
}

/// Calls with a reason, and calls without.
fn search(lines: &[(usize, String)]) -> [Vec<usize>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    let mut is_paused = false;
    for (nth, (number, line)) in lines.iter().enumerate() {
        // A function ends at the margin, or at that of its module.
        if line == "}" || line == "    }" {
            is_paused = false;
        }
        is_paused |= line.contains("start_paused = true");
        let is_limited = !NO_LIMITS.iter().any(|it| line.contains(it));
        let is_timed = CALLS.iter().any(|function| has_call(line, function));
        if is_limited && is_timed || has_timeouts_of_production(&lines[nth..]) {
            let above = &lines[nth.saturating_sub(3)..nth];
            let is_reason = |line: &str| REASONS.iter().any(|it| line.trim_start().starts_with(it));
            let has_reason = is_paused || above.iter().any(|(_, line)| is_reason(line));
            found[usize::from(!has_reason)].push(number + 1);
        }
    }
    found
}

#[test]
fn tests_wait_for_conditions_unless_they_give_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut reasons, mut without) = (0, Vec::new());
    for folder in FOLDERS {
        let files: Vec<PathBuf> = rust_files(&root.join(folder));
        assert!(files.len() > 5, "{folder} has too few files");
        for file in files.into_iter().filter(|file| !SAMPLES.iter().any(|it| file.ends_with(it))) {
            let [with, missing] = search(&test_code(&file));
            reasons += with.len();
            without.extend(missing.iter().map(|line| format!("{}:{line}", file.display())));
        }
    }
    assert!(reasons > 10, "the search finds only {reasons} calls with a reason");
    assert!(
        without.is_empty(),
        "wait for a condition with `testkit::eventually` or `within`, or write `{}..` above: {without:#?}",
        REASONS[0]
    );
}

#[test]
fn each_way_to_wait_for_time_is_found() {
    let line = |text: &str| (0, text.to_owned());
    for call in [
        "tokio::time::sleep(PAUSE).await;",
        "let ended = timeout(MAX, ended).await;",
        "let begun = std::time::Instant::now();",
        "client.timeout(MAX)",
        "receiver.recv_timeout(MAX)",
        "let begun: DateTime<Utc> = Clock::System.now();",
        "let relay = Relay::new(pool, bus, clock);",
    ] {
        assert_eq!(search(&[line(call)]), [vec![], vec![1_usize]], "{call}");
        assert_eq!(search(&[line("    // Real time: only a pause."), line(call)])[1], [0_usize; 0]);
    }
    for other in [
        "async fn it_is_a_503_after_the_timeout() {",
        "error.is_timeout()",
        "// sleep(1)",
        "let relay = Relay::new(pool, bus, clock).with_timeouts(PATIENT_RELAY);",
    ] {
        assert_eq!(search(&[line(other)]), [[0_usize; 0]; 2], "{other}");
    }
}
