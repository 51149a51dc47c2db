//! The numbers that operators act on: each metric, each field of an operator's response and each
//! attribute of an event has its value in a situation that the test made.
//!
//! Every actor has a clock of its own, and no two show the same time: a number that is computed from
//! the wrong time is a wrong number. Tables name what they cover, and a test fails for a metric, a
//! field or an event type that no table covers.

mod admin;
mod background_failures;
mod coverage;
mod drift;
mod events;
mod metrics;
mod relay_failures;
mod sites;
mod situation;
