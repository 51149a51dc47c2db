//! The progress of a command, on stderr: a bar on a terminal, otherwise a line every few seconds.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::config::Settings;

use crate::console::output::say;

/// The minimum time between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// The unit of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Items, with their name in the plural.
    Items(&'static str),
    Bytes,
}

/// Progress towards a known total. Dropping it removes the bar from the terminal.
#[derive(Debug)]
pub struct Progress(Display);

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Bar,
    Lines,
}

impl Style {
    /// The style that suits the stderr of this process.
    pub fn read(settings: &Settings) -> Self {
        Self::of(std::io::stderr().is_terminal(), settings)
    }

    /// A bar only on a terminal that is not dumb, and only if neither `CI` nor `NO_COLOR` is set.
    fn of(is_terminal: bool, settings: &Settings) -> Self {
        let bar = is_terminal
            && settings.text("CI").is_none()
            && settings.text("NO_COLOR").is_none()
            && settings.text("TERM") != Some("dumb");
        if bar { Self::Bar } else { Self::Lines }
    }
}

impl Progress {
    /// Starts with nothing done. `what` names the work, such as `seeding`.
    pub fn begin(style: Style, what: &'static str, total: u64, unit: Unit) -> Self {
        Self(match style {
            Style::Bar => Display::Bar(bar(what, total, unit)),
            Style::Lines => Display::Lines(Mutex::new(Lines {
                what,
                total,
                unit,
                done: 0,
                next: Instant::now() + EVERY,
            })),
        })
    }

    /// Advances by `more`.
    pub fn add(&self, more: u64) {
        match &self.0 {
            Display::Bar(bar) => bar.inc(more),
            Display::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(line) = lines.add(more, Instant::now()) {
                    say(&line);
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Display::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: u64, unit: Unit) -> ProgressBar {
    let counted = match unit {
        Unit::Items(name) => format!("{{human_pos}}/{{human_len}} {name} {{per_sec:0}}"),
        Unit::Bytes => "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}".to_owned(),
    };
    let template = format!("{{msg}} [{{wide_bar}}] {counted} {{eta}} left");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style).with_message(what)
}

#[derive(Debug)]
struct Lines {
    what: &'static str,
    total: u64,
    unit: Unit,
    done: u64,
    next: Instant,
}

impl Lines {
    /// Advances by `more`, and returns a line if one is due.
    fn add(&mut self, more: u64, now: Instant) -> Option<String> {
        self.done += more;
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        let percent = self.done.saturating_mul(100) / self.total.max(1);
        let (what, done, total) = (self.what, self.done, self.total);
        Some(match self.unit {
            Unit::Items(name) => format!(
                "{what}: {} of {} {name} ({percent} %)",
                HumanCount(done),
                HumanCount(total)
            ),
            Unit::Bytes => {
                format!("{what}: {} of {} ({percent} %)", DecimalBytes(done), DecimalBytes(total))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_drawn_only_on_an_interactive_terminal() {
        let none = Settings::from_pairs::<&str, &str>([]);
        assert_eq!(Style::of(true, &none), Style::Bar);
        assert_eq!(Style::of(false, &none), Style::Lines);
        for pair in [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb")] {
            let settings = Settings::from_pairs([pair]);
            assert_eq!(Style::of(true, &settings), Style::Lines, "{pair:?}");
        }
        let empty = Settings::from_pairs([("CI", "")]);
        assert_eq!(Style::of(true, &empty), Style::Bar);
    }

    #[test]
    fn lines_are_limited_to_one_every_few_seconds() {
        // Real time: any moment will do.
        let begun = Instant::now();
        let mut lines = Lines {
            what: "seeding",
            total: 200_000,
            unit: Unit::Items("products"),
            done: 0,
            next: begun + EVERY,
        };
        assert_eq!(lines.add(1_000, begun), None);
        assert_eq!(
            lines.add(1_000, begun + EVERY).as_deref(),
            Some("seeding: 2,000 of 200,000 products (1 %)")
        );
        assert_eq!(lines.add(4_000, begun + EVERY), None);
        // What was done between two lines counts in the next one.
        assert_eq!(
            lines.add(1_000, begun + 2 * EVERY).as_deref(),
            Some("seeding: 7,000 of 200,000 products (3 %)")
        );
    }
}
