//! The intervals that source text declares: calls of `Duration::from_..` and `TimeDelta::..` with a number
//! or a constant, integer constants that are documented in units of time, and `max-age` headers.
//! Conversions of a variable declare nothing. Comments and code of tests are left out.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sources::{name_of, production_text};

/// An interval: its name, and its value as written.
pub(super) type Interval = (String, String);

/// The intervals that a file declares, as (name, value).
pub(super) fn intervals(text: &str) -> Vec<Interval> {
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

/// The multiples and fractions of interval constants that a file uses, as (name, expression).
pub(super) fn scaled(text: &str, constants: &BTreeSet<String>) -> Vec<Interval> {
    let text = production_text(text);
    let lines: Vec<&str> = text.lines().collect();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let operators = [" * ", " / ", ".mul_", ".div_", ".checked_mul", ".saturating_mul"];
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if line.trim().starts_with("//") {
            continue;
        }
        for constant in constants {
            for (at, _) in line.match_indices(constant.as_str()) {
                let (before, after) = (&line[..at], &line[at + constant.len()..]);
                if before.ends_with(is_name) || after.starts_with(is_name) {
                    continue;
                }
                let is_scaled = operators.iter().any(|it| after.starts_with(it));
                if is_scaled || before.ends_with(" * ") {
                    let end = |text: &str| text.find([';', ',']).unwrap_or(text.len());
                    let after = balanced(after);
                    let expression = format!("{constant}{}", &after[..end(after)]);
                    found.push((name_of(&lines, number), expression));
                }
            }
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
pub(super) fn duration(value: &str) -> Option<Duration> {
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
fn scaled_constants_are_read_as_intervals() {
    let text = "
fn a() {
    sleep(PAUSE * 2_u32.pow(n - 1)).await;
    let most = 3 * PAUSE;
    wait(LONG_PAUSE / 2, now + PAUSE);
    // PAUSE * 2
    MY_PAUSE * 2;
    PAUSE.mul_f64(0.5);
}
";
    let read = scaled(text, &["PAUSE".to_owned(), "LONG_PAUSE".to_owned()].into());
    let read: Vec<&str> = read.iter().map(|(_, expression)| &**expression).collect();
    let expected = ["PAUSE * 2_u32.pow(n - 1)", "PAUSE", "LONG_PAUSE / 2", "PAUSE.mul_f64(0.5)"];
    assert_eq!(read, expected);
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
