//! The load that `vitrina load` makes, too, and what it shows as a goal sees it.

use std::ops::Deref;

use crate::goal::Stat;
use crate::number::rate;

pub(crate) use vitrina::commands::load::{Connection, Load, get, lag, post};

/// What a load showed.
#[derive(Clone, Debug)]
pub(crate) struct Seen(vitrina::commands::load::Seen);

/// Asks again as soon as it is answered.
pub(crate) async fn closed_loop(load: &Load) -> anyhow::Result<Seen> {
    vitrina::commands::load::closed_loop(load).await.map(Seen)
}

/// Asks `rate` times a second, however late answers come.
pub(crate) async fn open_loop(load: &Load, rate: f64) -> anyhow::Result<Seen> {
    vitrina::commands::load::open_loop(load, rate).await.map(Seen)
}

impl Deref for Seen {
    type Target = vitrina::commands::load::Seen;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Seen {
    pub(crate) fn stat(&self) -> Stat {
        Stat {
            value: rate(self.answered, self.took),
            p50_ms: Some(self.latencies.quantile(0.5)),
            p99_ms: Some(self.latencies.quantile(0.99)),
        }
    }

    /// As [`Seen::stat`], where each answer is about `each` things.
    pub(crate) fn stat_of(&self, each: u64) -> Stat {
        Stat { value: rate(self.answered * each, self.took), ..self.stat() }
    }
}
