//! Replays the fuzzing corpus in every test run.

use testkit::fuzz::{self, replay};

#[test]
fn every_stored_fuzzing_input_is_read_or_refused() {
    replay("event", fuzz::event);
    replay("cursor", fuzz::cursor);
    replay("token", fuzz::token);
    replay("claims", fuzz::claims);
    replay("headers", fuzz::headers);
}
