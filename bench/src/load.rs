//! The load generator of `vitrina load`, with its results as statistics of a goal.

use std::ops::Deref;

use crate::goal::Stat;
use crate::number::rate;

pub(crate) use vitrina::commands::load::{Connection, Load, get, lag, post};

/// The result of a load.
#[derive(Clone, Debug)]
pub(crate) struct LoadResult(vitrina::commands::load::Seen);

/// Each connection sends its next request when it has the response.
pub(crate) async fn closed_loop(load: &Load) -> anyhow::Result<LoadResult> {
    vitrina::commands::load::closed_loop(load).await.map(LoadResult)
}

/// Sends `rate` requests a second, however late the responses are.
pub(crate) async fn open_loop(load: &Load, rate: f64) -> anyhow::Result<LoadResult> {
    vitrina::commands::load::open_loop(load, rate).await.map(LoadResult)
}

impl Deref for LoadResult {
    type Target = vitrina::commands::load::Seen;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl LoadResult {
    pub(crate) fn stat(&self) -> Stat {
        Stat {
            value: rate(self.responses, self.took),
            p50_ms: Some(self.latencies.quantile(0.5)),
            p99_ms: Some(self.latencies.quantile(0.99)),
        }
    }

    /// Like [`LoadResult::stat`], with `items` items in each response.
    pub(crate) fn stat_of(&self, items: u64) -> Stat {
        Stat { value: rate(self.responses * items, self.took), ..self.stat() }
    }
}
