//! Model of a product's stock: a counter with its own version.

use super::linearizable::Model;

/// A call about one stock. `None` in `if_match` accepts any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Adjust {
        delta: i64,
    },
    Set {
        on_hand: i64,
        if_match: Option<i64>,
    },
    Read,
    /// The quantity in the listing, as a buyer reads it.
    ReadAvailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Response {
    Shown {
        version: i64,
        on_hand: i64,
    },
    Available(i64),
    /// The stock has another version than `if_match`.
    Stale,
}

/// State of a stock without held pieces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StockModel {
    pub(crate) version: i64,
    pub(crate) on_hand: i64,
}

impl StockModel {
    fn next(&self, on_hand: i64) -> Self {
        Self { version: self.version + 1, on_hand }
    }
}

impl Model for StockModel {
    type Call = Call;
    type Response = Response;

    fn apply(&self, call: &Call) -> (Self, Response) {
        let after = match call {
            Call::Adjust { delta } => self.next(self.on_hand + delta),
            Call::Set { if_match: Some(version), .. } if *version != self.version => {
                return (self.clone(), Response::Stale);
            }
            Call::Set { on_hand, .. } if *on_hand != self.on_hand => self.next(*on_hand),
            Call::Set { .. } | Call::Read => self.clone(),
            Call::ReadAvailable => return (self.clone(), Response::Available(self.on_hand)),
        };
        let response = Response::Shown { version: after.version, on_hand: after.on_hand };
        (after, response)
    }

    fn is_past(&self, response: &Response) -> bool {
        matches!(response, Response::Shown { version, .. } if *version < self.version)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Operation;
    use super::super::linearizable::explain;
    use super::*;

    #[test]
    fn listed_quantity_was_on_hand_at_some_time() {
        let at = Duration::from_millis;
        let op = |invoked, responded, call, response| Operation {
            client: 1,
            call,
            invoked: at(invoked),
            response: Some((at(responded), response)),
        };
        let first = StockModel { version: 1, on_hand: 5 };
        let sold = |version, on_hand| Response::Shown { version, on_hand };
        let mut history = vec![
            op(10, 20, Call::Adjust { delta: -1 }, sold(2, 4)),
            op(30, 40, Call::Set { on_hand: 9, if_match: Some(1) }, Response::Stale),
            op(50, 60, Call::Set { on_hand: 9, if_match: Some(2) }, sold(3, 9)),
            // A listing may lag.
            op(0, 90, Call::ReadAvailable, Response::Available(4)),
        ];
        explain(&first, &history).unwrap();
        // A listing may not show a quantity before it is set, or one that never was.
        history.push(op(0, 45, Call::ReadAvailable, Response::Available(9)));
        explain(&first, &history).unwrap_err();
        history.pop();
        history.push(op(0, 90, Call::ReadAvailable, Response::Available(8)));
        explain(&first, &history).unwrap_err();
    }
}
