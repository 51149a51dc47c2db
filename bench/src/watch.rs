//! How far the run has come, on stderr: a bar for a person at a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::config::Settings;
use vitrina::console::output::say;
use vitrina::console::progress::Style;

/// Shows what is being done.
#[derive(Debug)]
pub(crate) struct Watch(Option<ProgressBar>);

impl Watch {
    /// Begins; `goals` are to be measured.
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

    /// What is being done now.
    pub(crate) fn now(&self, what: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(what),
        }
    }

    /// One goal less.
    pub(crate) fn goal_done(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
