//! The progress of a run, on stderr: a bar at a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::config::Settings;
use vitrina::console::output::say;
use vitrina::console::progress::Style;

/// Shows the progress of a run.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Starts with `goals` goals to measure.
    pub(crate) fn begin(settings: &Settings, goals: usize) -> Self {
        Self(match Style::read(settings) {
            Style::Bar => {
                let total = u64::try_from(goals).unwrap_or_default();
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template(
                    "{spinner} {pos}/{len} goals [{bar:20}] {elapsed} {msg}",
                );
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                bar.set_style(style.progress_chars("=> "));
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            Style::Lines => None,
        })
    }

    /// Shows the current activity.
    pub(crate) fn now(&self, what: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(what),
        }
    }

    /// Counts a goal as done.
    pub(crate) fn goal_done(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
