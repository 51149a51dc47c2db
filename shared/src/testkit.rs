//! What tests start.
