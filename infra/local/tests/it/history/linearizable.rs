//! Checks that a history is linearizable: each call took effect at one moment between its invocation
//! and its response, and each response is what the model returns at that moment.
//!
//! The search is that of Wing and Gong with the cache of Lowe ("Testing for linearizability", 2017):
//! the next call is one that was invoked before any remaining call completed, and each pair of
//! applied calls and state is tried once. A call without a response may take effect at any time, or
//! never.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use super::Operation;

/// Sequential behaviour of an object.
pub(crate) trait Model: Clone + Eq + Hash + fmt::Debug {
    type Call: fmt::Debug;
    type Response: fmt::Debug + PartialEq;

    /// The state after a call, and the response to the call.
    fn apply(&self, call: &Self::Call) -> (Self, Self::Response);

    /// Whether no sequence of calls from here can give this response.
    fn is_past(&self, response: &Self::Response) -> bool;
}

/// Indices of calls in their history, each with the state after the call.
pub(crate) type Order<M> = Vec<(usize, M)>;

/// No order of calls explains this history.
#[derive(Debug)]
pub(crate) struct Unexplained<M> {
    /// The history by time of invocation. `+` marks the calls that the longest attempt explains.
    lines: Vec<String>,
    /// The state at the end of that attempt.
    state: M,
}

impl<M: fmt::Debug> fmt::Display for Unexplained<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order of these calls gives these responses:")?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "the calls marked + can be explained, and lead to {:?}", self.state)
    }
}

/// Finds an order of calls that starts from `initial` and explains every response.
pub(crate) fn explain<M: Model>(
    initial: &M,
    history: &[Operation<M::Call, M::Response>],
) -> Result<Order<M>, Unexplained<M>> {
    let mut search = Search {
        history,
        applied: vec![false; history.len()],
        order: Vec::new(),
        longest: Vec::new(),
        tried: HashSet::new(),
    };
    if search.explain_rest(initial) {
        return Ok(search.order);
    }
    let explained: HashSet<usize> = search.longest.iter().map(|(nth, _)| *nth).collect();
    let mut by_time: Vec<usize> = (0..history.len()).collect();
    by_time.sort_by_key(|nth| history[*nth].invoked);
    let line = |nth: usize| {
        let mark = if explained.contains(&nth) { '+' } else { ' ' };
        format!("{mark} {}", history[nth])
    };
    let state = search.longest.last().map_or_else(|| initial.clone(), |(_, state)| state.clone());
    Err(Unexplained { lines: by_time.into_iter().map(line).collect(), state })
}

struct Search<'a, M: Model> {
    history: &'a [Operation<M::Call, M::Response>],
    applied: Vec<bool>,
    order: Order<M>,
    longest: Order<M>,
    tried: HashSet<(Vec<bool>, M)>,
}

impl<M: Model> Search<'_, M> {
    /// Whether the remaining calls can be explained from this state.
    fn explain_rest(&mut self, state: &M) -> bool {
        let Some(first_response) = self.first_response() else { return true };
        if self.open_responses().any(|(_, response)| state.is_past(response))
            || !self.tried.insert((self.applied.clone(), state.clone()))
        {
            return false;
        }
        let mut possible = Vec::new();
        for (nth, operation) in self.history.iter().enumerate() {
            if self.applied[nth] || operation.invoked > first_response {
                continue;
            }
            let (next, given) = state.apply(&operation.call);
            match &operation.response {
                Some((_, response)) if *response != given => {}
                // A matching call that changes nothing can be applied now without ruling out any
                // other order.
                Some(_) if next == *state => return self.explain_rest_after(nth, &next),
                Some((at, _)) => possible.push((*at, nth, next)),
                // A call that has no response and changes nothing can be left out.
                None if next == *state => {}
                None => possible.push((Duration::MAX, nth, next)),
            }
        }
        possible.sort_by_key(|(at, ..)| *at);
        possible.into_iter().any(|(_, nth, next)| self.explain_rest_after(nth, &next))
    }

    /// Time of the earliest response among the remaining calls. A call that was invoked later comes
    /// after it. `None` if no completed call remains.
    fn first_response(&self) -> Option<Duration> {
        self.open_responses().map(|(at, _)| *at).min()
    }

    fn open_responses(&self) -> impl Iterator<Item = &(Duration, M::Response)> {
        let open = self.history.iter().zip(&self.applied).filter(|(_, applied)| !**applied);
        open.filter_map(|(operation, _)| operation.response.as_ref())
    }

    fn explain_rest_after(&mut self, nth: usize, next: &M) -> bool {
        self.applied[nth] = true;
        self.order.push((nth, next.clone()));
        if self.order.len() > self.longest.len() {
            self.longest.clone_from(&self.order);
        }
        if self.explain_rest(next) {
            return true;
        }
        self.order.pop();
        self.applied[nth] = false;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::product::Call::{Create, Delete, Read, Rename, Restore};
    use super::super::product::{Call, ProductModel, Response};
    use super::*;

    type Op = Operation<Call, Response>;

    fn op(invoked: u64, responded: u64, call: Call, response: Response) -> Op {
        let at = Duration::from_millis;
        Operation {
            client: 1,
            call,
            invoked: at(invoked),
            response: Some((at(responded), response)),
        }
    }

    fn lost(invoked: u64, call: Call) -> Op {
        Operation { client: 2, call, invoked: Duration::from_millis(invoked), response: None }
    }

    fn shown(version: i64, name: &str) -> Response {
        Response::Shown { version, name: name.to_owned() }
    }

    fn create() -> Op {
        op(0, 10, Create { name: "a".to_owned() }, shown(1, "a"))
    }

    fn rename(name: &str, if_match: Option<i64>) -> Call {
        Rename { name: name.to_owned(), if_match }
    }

    fn check(history: &[Op]) -> Result<Order<ProductModel>, Unexplained<ProductModel>> {
        explain(&ProductModel::Absent, history)
    }

    #[test]
    fn sequential_calls_are_explained_in_their_order() {
        let history = [
            create(),
            op(20, 30, rename("b", Some(1)), shown(2, "b")),
            op(40, 50, Delete { if_match: None }, Response::Done),
            op(60, 70, Read, Response::NotFound),
            op(80, 90, Restore, shown(4, "b")),
            op(92, 95, rename("c", Some(3)), Response::Stale),
            op(96, 99, Read, shown(4, "b")),
        ];
        let order: Vec<usize> = check(&history).unwrap().iter().map(|(nth, _)| *nth).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn concurrent_calls_are_explained_in_either_order() {
        let both = |first: i64, second: i64| {
            vec![
                create(),
                op(20, 50, rename("b", None), shown(first, "b")),
                op(30, 40, rename("c", None), shown(second, "c")),
                // While both are in flight, a read may see any of three states.
                op(25, 45, Read, shown(1, "a")),
            ]
        };
        check(&both(2, 3)).unwrap();
        check(&both(3, 2)).unwrap();
        check(&both(2, 2)).unwrap_err();
        check(&both(3, 4)).unwrap_err();
    }

    #[test]
    fn stale_read_is_not_explained() {
        let mut history = vec![create(), op(20, 30, rename("b", None), shown(2, "b"))];
        history.push(op(29, 40, Read, shown(1, "a")));
        check(&history).unwrap();
        history.push(op(31, 40, Read, shown(1, "a")));
        let refused = check(&history).unwrap_err().to_string();
        assert!(
            refused.contains("client 1  Read -> Shown { version: 1, name: \"a\" }"),
            "{refused}"
        );
    }

    #[test]
    fn lost_update_is_not_explained() {
        // Both were based on version 1, and both got version 2.
        let history = [
            create(),
            op(20, 40, rename("b", Some(1)), shown(2, "b")),
            op(21, 41, rename("c", Some(1)), shown(2, "c")),
        ];
        check(&history).unwrap_err();
        // An acknowledged update that no later response shows.
        let history = [
            create(),
            op(20, 30, rename("b", None), shown(2, "b")),
            op(40, 50, rename("c", None), shown(2, "c")),
        ];
        check(&history).unwrap_err();
    }

    #[test]
    fn decreasing_version_is_not_explained() {
        let history = [
            create(),
            op(20, 30, rename("b", None), shown(2, "b")),
            op(40, 50, Read, shown(2, "b")),
            op(60, 70, Read, shown(1, "b")),
        ];
        check(&history).unwrap_err();
        let history = [
            create(),
            op(20, 30, Delete { if_match: None }, Response::Done),
            op(40, 50, Restore, shown(2, "a")),
        ];
        check(&history).unwrap_err();
    }

    #[test]
    fn refusal_without_a_cause_is_not_explained() {
        let refused = |call, response| check(&[create(), op(20, 30, call, response)]);
        refused(rename("b", Some(1)), Response::Stale).unwrap_err();
        refused(rename("b", None), Response::NotFound).unwrap_err();
        refused(Delete { if_match: Some(2) }, Response::Done).unwrap_err();
        refused(Delete { if_match: Some(2) }, Response::Stale).unwrap();
    }

    #[test]
    fn call_without_a_response_takes_effect_later_or_never() {
        let with = |read: Op| check(&[create(), lost(20, rename("b", None)), read]);
        with(op(30, 40, Read, shown(1, "a"))).unwrap();
        with(op(30, 40, Read, shown(2, "b"))).unwrap();
        with(op(12, 15, Read, shown(2, "b"))).unwrap_err();
        // It may take effect late, but only once.
        let (first, second) = (op(30, 40, Read, shown(1, "a")), op(50, 60, Read, shown(2, "b")));
        check(&[create(), lost(20, rename("b", None)), first.clone(), second.clone()]).unwrap();
        check(&[create(), lost(20, rename("b", None)), second, op(70, 80, Read, shown(1, "a"))])
            .unwrap_err();
        // It was based on a version that is no longer current.
        let late = [
            create(),
            lost(20, rename("b", Some(1))),
            op(30, 40, rename("c", None), shown(2, "c")),
            op(50, 60, Read, shown(3, "b")),
        ];
        check(&late).unwrap_err();
    }

    #[test]
    fn many_concurrent_calls_are_explained_in_a_short_search() {
        // Sixteen concurrent calls have 2 x 10^13 orders. The responses allow only one of them.
        let mut history = vec![create()];
        for nth in 0..16 {
            let name = format!("n{nth}");
            history.push(op(20, 60, rename(&name, None), shown(17 - nth, &name)));
        }
        for nth in 0..16 {
            history.push(lost(20, rename(&format!("lost {nth}"), None)));
        }
        history.push(op(70, 80, Read, shown(17, "n0")));
        check(&history).unwrap();
        history.push(op(90, 95, Read, shown(16, "n1")));
        check(&history).unwrap_err();
    }
}
