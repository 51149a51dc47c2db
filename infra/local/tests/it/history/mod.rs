//! Recorded calls with their responses, and checks of whether the responses are consistent.

pub(crate) mod buyer_reads;
pub(crate) mod linearizable;
pub(crate) mod product;
pub(crate) mod stock;

use std::fmt;
use std::time::Duration;

/// A call and its response, if one arrived. Times are since the history began.
#[derive(Clone, Debug)]
pub(crate) struct Operation<C, A> {
    pub(crate) client: u32,
    pub(crate) call: C,
    pub(crate) invoked: Duration,
    /// `None` if it was lost: the call may have taken effect at any time since, or never.
    pub(crate) response: Option<(Duration, A)>,
}

impl<C, A> Operation<C, A> {
    /// Whether the two calls were concurrent.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let before =
            |one: &Self, two: &Self| one.response.as_ref().is_some_and(|(at, _)| *at < two.invoked);
        !before(self, other) && !before(other, self)
    }
}

impl<C: fmt::Debug, A: fmt::Debug> fmt::Display for Operation<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: Duration| format!("{:.6}", at.as_secs_f64());
        let (responded, response) = match &self.response {
            Some((at, response)) => (seconds(*at), format!("{response:?}")),
            None => ("?".to_owned(), "no response".to_owned()),
        };
        let invoked = seconds(self.invoked);
        let Self { client, call, .. } = self;
        write!(f, "{invoked:>11} .. {responded:>11} s  client {client:<2} {call:?} -> {response}")
    }
}
