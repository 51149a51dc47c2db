//! How far a command has come, on stderr: a bar for a person at a terminal, and now and then a line
//! where nobody watches.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::config::Settings;

use crate::console::output::say;

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, by their name in the plural.
    Things(&'static str),
    Bytes,
}

/// Progress towards a known end. It leaves the terminal as it was when it goes.
#[derive(Debug)]
pub struct Progress(Shown);

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Bar,
    Lines,
}

impl Style {
    /// What suits the stderr of this process.
    pub fn read(settings: &Settings) -> Self {
        Self::of(std::io::stderr().is_terminal(), settings)
    }

    /// No bar in a pipe, nor where `CI`, `NO_COLOR` or a dumb terminal speak against it.
    fn of(is_terminal: bool, settings: &Settings) -> Self {
        let bar = is_terminal
            && settings.text("CI").is_none()
            && settings.text("NO_COLOR").is_none()
            && settings.text("TERM") != Some("dumb");
        if bar { Self::Bar } else { Self::Lines }
    }
}

impl Progress {
    /// Begins; `what` is what is being done, such as `seeding`.
    pub fn begin(style: Style, what: &'static str, total: u64, unit: Unit) -> Self {
        Self(match style {
            Style::Bar => Shown::Bar(bar(what, total, unit)),
            Style::Lines => Shown::Lines(Mutex::new(Lines {
                what,
                total,
                unit,
                done: 0,
                next: Instant::now() + EVERY,
            })),
        })
    }

    /// Goes on by `more`.
    pub fn add(&self, more: u64) {
        match &self.0 {
            Shown::Bar(bar) => bar.inc(more),
            Shown::Lines(lines) => {
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
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: u64, unit: Unit) -> ProgressBar {
    let counted = match unit {
        Unit::Things(name) => format!("{{human_pos}}/{{human_len}} {name} {{per_sec:0}}"),
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
    /// The line that is due, if one is.
    fn add(&mut self, more: u64, now: Instant) -> Option<String> {
        self.done += more;
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        let percent = self.done.saturating_mul(100) / self.total.max(1);
        let (what, done, total) = (self.what, self.done, self.total);
        Some(match self.unit {
            Unit::Things(name) => format!(
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
    fn a_bar_is_drawn_only_where_somebody_watches() {
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
    fn lines_come_at_most_every_few_seconds() {
        let begun = Instant::now();
        let mut lines = Lines {
            what: "seeding",
            total: 200_000,
            unit: Unit::Things("products"),
            done: 0,
            next: begun + EVERY,
        };
        assert_eq!(lines.add(1_000, begun), None);
        assert_eq!(
            lines.add(1_000, begun + EVERY).as_deref(),
            Some("seeding: 2,000 of 200,000 products (1 %)")
        );
        assert_eq!(lines.add(1_000, begun + EVERY), None);
    }
}
