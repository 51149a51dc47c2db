//! Load over HTTP/1.1 with persistent connections, from a thread of its own. It shares the machine
//! with the server that it measures, so it uses as little CPU as possible.
//!
//! A closed loop sends the next request as soon as it has a response: it measures throughput. An open
//! loop sends at a fixed rate, whether responses arrive or not, and measures from the scheduled time
//! of each request: it measures latency.

#![expect(
    clippy::float_arithmetic,
    reason = "float arithmetic on measurements; exactness not needed"
)]

mod command;
mod connection;
mod generator;
pub mod lag;
mod number;

pub use command::LoadArgs;
pub(crate) use command::run;
pub use connection::{Connection, get, post};
pub use generator::{Load, Observe, Seen, WriteRequest, closed_loop, open_loop};
pub use number::{Latencies, figure, rate};
