//! What the fuzzer once found is shown to every build.

use testkit::fuzz::{self, replay};

#[test]
fn every_input_that_is_kept_is_read_or_refused() {
    replay("event", fuzz::event);
    replay("cursor", fuzz::cursor);
    replay("token", fuzz::token);
    replay("claims", fuzz::claims);
    replay("headers", fuzz::headers);
}
