//! Every interval that production code declares has a row in `docs/intervals.md`, with its value and the
//! test that sees it.
//!
//! Declarations are read from the source text: calls of `Duration::from_..` and `TimeDelta::..` with a
//! number or a constant, integer constants that are documented in units of time, and `max-age` headers.
//! Conversions of a variable declare nothing. Comments and code of tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::architecture::{crate_folders, root, shown};
use crate::sources::{name_of, production_files, production_text, test_names};

const TABLE: &str = "docs/intervals.md";

/// Intervals without a test of their effect, each for the reason in its row. May only decrease.
const WITHOUT_TEST: usize = 38;

/// Pairs of which the first must be shorter, and why. Either may be a sum.
const SHORTER: &[(&str, &str, &str)] = &[
    (
        "shared/src/http/body.rs BODY_TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "a slow body is a 408",
    ),
    (
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "infra/local/src/client/http.rs TIMEOUT",
        "the client reads the 503",
    ),
    (
        "services/catalog/src/http/get_product.rs MAX_WAIT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "waiting for a version ends with its own 503",
    ),
    (
        "shared/src/http/key_set.rs TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "so does waiting for keys",
    ),
    (
        "shared/src/database/mod.rs acquire + shared/src/database/mod.rs statement",
        "services/inventory/src/group_commit/mod.rs TIMEOUT",
        "a group waits for its connection and its statement",
    ),
    (
        "services/inventory/src/group_commit/mod.rs TIMEOUT",
        "shared/src/host/server.rs REQUEST_TIMEOUT",
        "a silent database is a 503 that names it",
    ),
    (
        "shared/src/database/mod.rs lock",
        "shared/src/database/mod.rs statement",
        "a wait for a lock is reported as such",
    ),
    (
        "shared/src/outbox/relay.rs publish",
        "shared/src/database/mod.rs idle_in_transaction",
        "the relay publishes within its transaction",
    ),
    (
        "shared/src/outbox/relay.rs response",
        "shared/src/outbox/relay.rs publish",
        "a response waits less than the relay",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs attempt",
        "shared/src/bus/aws/event_bridge.rs call",
        "a call has several attempts",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs call",
        "shared/src/bus/aws/event_bridge.rs budget",
        "a publish has several calls",
    ),
    (
        "shared/src/bus/aws/event_bridge.rs budget",
        "shared/src/outbox/relay.rs publish",
        "what was accepted is settled",
    ),
    (
        "shared/src/outbox/relay.rs REFUSED_BACKOFF",
        "shared/src/outbox/relay.rs drain",
        "a drain publishes what was refused once",
    ),
    (
        "shared/src/outbox/relay.rs drain",
        "shared/src/outbox/relay.rs UNREADABLE_BACKOFF",
        "a drain does not wait for another build",
    ),
    (
        "shared/src/bus/aws/sqs.rs long_poll + shared/src/bus/aws/sqs.rs visibility",
        "shared/src/host/sqs_intake.rs ROUND_TIMEOUT",
        "a round receives and handles",
    ),
    (
        "shared/src/bus/message.rs MESSAGE_KEPT",
        "shared/src/bus/message.rs DEAD_LETTER_KEPT",
        "a message is a dead letter first",
    ),
    (
        "shared/src/bus/message.rs DEAD_LETTER_KEPT",
        "shared/src/contract/listing.rs TOMBSTONE_KEPT",
        "a late event meets the tombstone",
    ),
    (
        "shared/src/database/iam.rs RENEW_AFTER + shared/src/database/iam.rs CHECK_INTERVAL",
        "shared/src/database/iam.rs LIFETIME",
        "a new connection has a valid token",
    ),
    (
        "shared/src/http/key_set.rs REFETCH_AFTER",
        "shared/src/http/key_set.rs REFRESH_AFTER",
        "a refresh is not too early",
    ),
    (
        "shared/src/http/key_set.rs REFRESH_AFTER",
        "shared/src/http/key_set.rs REFRESH_FIRST_AFTER",
        "a busy process refreshes in the background",
    ),
    (
        "shared/src/http/auth.rs CACHED_FOR",
        "services/identity/src/keys.rs ACCESS_LIFETIME",
        "a token expires in the cache, too",
    ),
    (
        "infra/local/src/client/session.rs MARGIN",
        "services/identity/src/keys.rs ACCESS_LIFETIME",
        "a new token is used for a while",
    ),
    (
        "services/sync/src/context.rs grace",
        "services/sync/src/context.rs max_wait",
        "a wait has a range",
    ),
    (
        "services/sync/src/config.rs GRACE_OF_A_FUNCTION",
        "services/sync/src/context.rs max_wait",
        "so has that of a function",
    ),
    (
        "services/sync/src/context.rs max_wait",
        "services/sync/src/context.rs lease",
        "a bucket that waits keeps its lease",
    ),
    (
        "services/sync/src/context.rs lease",
        "services/sync/src/context.rs deep_every",
        "a crashed round is taken over within the pass",
    ),
    (
        "shared/src/host/lambda/mod.rs FLUSH_TIMEOUT",
        "shared/src/host/lambda/mod.rs MARGIN",
        "spans are sent before the deadline",
    ),
    (
        "shared/src/host/intake.rs POLL_INTERVAL",
        "shared/src/bus/postgres/queue.rs UNAVAILABLE_BACKOFF",
        "an outage is polled less than a queue",
    ),
    (
        "services/identity/src/attempts.rs WINDOW",
        "services/identity/src/store/expired.rs CLAIM_KEPT",
        "a claim outlives its codes",
    ),
    (
        "infra/postgres/src/start.rs silence",
        "infra/postgres/src/start.rs ready",
        "a silent server is noticed before",
    ),
];

/// Pairs that must be equal, and why.
const EQUAL: &[(&str, &str, &str)] = &[
    (
        "services/catalog/src/pages.rs KEPT_FOR",
        "services/catalog/src/pages.rs CACHEABLE",
        "a page is as old for a client as it is here",
    ),
    (
        "shared/src/bus/aws/sqs.rs visibility",
        "shared/src/bus/postgres/queue.rs visibility",
        "both queues behave alike",
    ),
    (
        "services/identity/src/codes.rs LIFETIME",
        "services/identity/src/attempts.rs WINDOW",
        "a code has as many attempts as its window",
    ),
];

/// An interval: its file and name, and its value as written.
type Interval = (String, String);

/// A row of the table.
#[derive(Debug)]
struct Row {
    interval: Interval,
    /// The tests that see it; none if `reason` says why.
    tests: Vec<String>,
    reason: String,
}

#[test]
fn every_interval_has_a_row_with_its_value() {
    let mut declared = Vec::new();
    for file in production_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let intervals = intervals(&text).into_iter();
        declared.extend(intervals.map(|(name, value)| (format!("{} {name}", shown(&file)), value)));
    }
    assert!(declared.len() > 100, "the sources are not read: {declared:#?}");
    let mut listed: Vec<Interval> = rows().into_iter().map(|row| row.interval).collect();
    let mut missing = Vec::new();
    for interval in declared {
        match listed.iter().position(|row| *row == interval) {
            Some(at) => drop(listed.swap_remove(at)),
            None => missing.push(interval),
        }
    }
    assert!(
        missing.is_empty() && listed.is_empty(),
        "{TABLE} lacks {missing:#?}, and lists what no code declares: {listed:#?}. First write a test \
         that sees the interval just before and at its end"
    );
}

#[test]
fn every_interval_names_a_test_that_exists() {
    let tests = test_names();
    assert!(tests.len() > 500, "the tests are not read");
    let mut unknown = Vec::new();
    let mut without_test = 0;
    for Row { interval, tests: named, reason } in rows() {
        unknown.extend(named.iter().filter(|name| !tests.contains(*name)).cloned());
        if named.is_empty() {
            assert!(!reason.is_empty(), "{interval:?} names neither a test nor a reason");
            without_test += 1;
        }
    }
    assert!(unknown.is_empty(), "no tests of these names: {unknown:#?}");
    assert_eq!(without_test, WITHOUT_TEST, "change WITHOUT_TEST, which may only decrease");
}

#[test]
fn intervals_that_contain_others_are_longer() {
    let values: BTreeMap<String, Duration> = rows()
        .into_iter()
        .filter_map(|row| Some((row.interval.0, duration(&row.interval.1)?)))
        .collect();
    let total = |names: &str| -> Duration {
        let names = names.split(" + ").map(str::trim);
        names.map(|name| *values.get(name).unwrap_or_else(|| panic!("no row {name}"))).sum()
    };
    for (shorter, longer, why) in SHORTER {
        let (short, long) = (total(shorter), total(longer));
        assert!(short < long, "{shorter} ({short:?}) < {longer} ({long:?}): {why}");
    }
    for (one, other, why) in EQUAL {
        assert_eq!(total(one), total(other), "{one} = {other}: {why}");
    }
}

/// All times in statements are parameters from the clock of the process, so that tests can set them.
#[test]
fn statements_contain_no_intervals() {
    let mut found = BTreeSet::new();
    for folder in crate_folders() {
        let mut files = production_files();
        files.retain(|file| file.starts_with(&folder));
        let migrations = std::fs::read_dir(folder.join("migrations")).into_iter().flatten();
        files.extend(migrations.map(|entry| entry.unwrap().path()));
        for file in files.iter().filter(|file| file.is_file()) {
            let text = production_text(&std::fs::read_to_string(file).unwrap()).to_lowercase();
            let has = |word: &str| text.contains(word);
            if has("interval '") || has("now()\"") || has("current_timestamp") {
                found.insert(shown(file));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The rows of the table: interval, value, effect, test.
fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join(TABLE)).unwrap();
    let mut file = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut file);
            assert!(root().join(&file).is_file(), "{file} does not exist");
        }
        let Some(cells) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = cells.trim_end_matches(" |").split(" | ").collect();
        let [name, value, _, seen] = cells[..] else { panic!("four cells: {line}") };
        let named = seen.strip_prefix('`').map(|names| names.trim_end_matches('`'));
        rows.push(Row {
            interval: (format!("{file} {}", name.trim_end_matches('`')), value.replace('`', "")),
            tests: named
                .into_iter()
                .flat_map(|names| names.split("`, `").map(ToOwned::to_owned))
                .collect(),
            reason: seen.to_owned(),
        });
    }
    rows
}

/// The intervals that a file declares, as (name, value).
fn intervals(text: &str) -> Vec<Interval> {
    let text = production_text(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.trim();
        let name = || name_of(&lines, number);
        if code.starts_with("//") {
            found.extend(documented_integer(&lines[number..]));
            continue;
        }
        for constructor in ["Duration::from_", "Duration::new", "TimeDelta::"] {
            for (at, _) in code.match_indices(constructor) {
                let (function, rest) = code[at..].split_once('(').unwrap_or_default();
                let argument = balanced(rest);
                let unit = function.rsplit("::").next().unwrap_or_default();
                let is_number = has_number(argument);
                let is_constant = argument.contains(|c: char| c.is_ascii_uppercase())
                    && !argument.contains(|c: char| c.is_ascii_lowercase());
                if is_number || is_constant {
                    found.push((name(), format!("{argument} {}", short(unit))));
                }
            }
        }
        if let Some((_, age)) = code.split_once("max-age=") {
            let seconds: String = age.chars().take_while(char::is_ascii_digit).collect();
            found.push((name(), format!("{seconds} s")));
        }
    }
    found
}

/// Whether a number is written in `code`: not a digit in a name, nor the name of a field.
fn has_number(code: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let digits = code.match_indices(|c: char| c.is_ascii_digit());
    digits.into_iter().any(|(at, _)| !code[..at].ends_with(is_name))
}

/// The text up to the bracket that closes the one before it.
fn balanced(text: &str) -> &str {
    let mut open = 1;
    let end = text.find(|c: char| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    });
    end.map_or(text, |end| &text[..end])
}

fn short(unit: &str) -> &str {
    match unit.trim_start_matches("from_") {
        "micros" | "microseconds" => "µs",
        "millis" | "milliseconds" => "ms",
        "secs" | "seconds" => "s",
        "mins" | "minutes" => "min",
        "hours" => "h",
        "days" => "d",
        other => other,
    }
}

/// The integer constant below a comment that begins at the first line and gives a unit of time.
fn documented_integer(lines: &[&str]) -> Option<Interval> {
    let text = lines[0].to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    let units = ["microseconds", "milliseconds", "seconds", "minutes", "hours", "days"];
    let unit = words.find(|word| units.contains(word))?;
    let code = lines.iter().map(|line| line.trim()).find(|line| !line.starts_with("//"))?;
    let (_, declared) = code.split_once("const ")?;
    let (name, rest) = declared.split_once(": ")?;
    let (kind, value) = rest.split_once(" = ")?;
    let is_integer = ["i32", "i64", "u16", "u32", "u64"].contains(&kind);
    is_integer
        .then(|| (name.to_owned(), format!("{} {}", value.trim_end_matches(';'), short(unit))))
}

/// A value as written; `None` if it is not a constant.
fn duration(value: &str) -> Option<Duration> {
    let (number, unit) = value.rsplit_once(' ')?;
    let factors = number.split(" * ").map(|factor| factor.replace('_', "").parse::<u64>());
    let number = factors.product::<Result<u64, _>>().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_mins(number),
        "h" => Duration::from_hours(number),
        "d" => Duration::from_hours(24 * number),
        _ => return None,
    })
}

#[test]
fn intervals_are_read_from_constants_fields_and_statements() {
    let text = "
/// How long.
const A: Duration = Duration::from_secs(2);
/// Not 3 of anything: Duration::from_secs(3).
/// Age in seconds.
pub(crate) const B: i64 = 10 * 60;
impl C {
    fn d(&self) {
        sleep(Duration::from_millis(self.0), TimeDelta::days(KEPT), Duration::from_secs(1 << n.min(5)));
    }
    #[cfg(test)]
    fn e(&self) {
        sleep(Duration::from_millis(4));
    }
    fn f() -> Self {
        Self {
            g: Duration::from_mins(5),
            h: std::time::Duration::new(1, 0),
            i: \"public, max-age=7\",
            j: Duration::from_secs_f64(0.5),
        }
    }
}
#[cfg(test)]
mod tests {
    const K: Duration = Duration::from_secs(6);
}
";
    let read: Vec<String> =
        intervals(text).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let expected = [
        "A = 2 s",
        "B = 10 * 60 s",
        "d = KEPT d",
        "d = 1 << n.min(5) s",
        "g = 5 min",
        "h = 1, 0 new",
        "i = 7 s",
        "j = 0.5 secs_f64",
    ];
    let (read, expected): (BTreeSet<_>, BTreeSet<_>) =
        (read.into_iter().collect(), expected.iter().map(ToString::to_string).collect());
    assert_eq!(read, expected);
    assert_eq!(duration("10 * 60 s"), Some(Duration::from_mins(10)));
    assert_eq!(duration("1 << n s"), None);
}
