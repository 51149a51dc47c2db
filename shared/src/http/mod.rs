//! HTTP: parsing, problem documents, authorisation, rate limits and pages.
//!
//! External input is parsed here, once, or refused with a problem document.

pub mod auth;
mod body;
mod conditions;
pub mod docs;
mod faults;
mod idempotency;
mod key_set;
pub mod page;
mod parameters;
pub mod problem;
pub mod rate_limit;
pub mod request;

pub use body::{Json, LargeJson, MAX_BODY, escape_pointer, object, parse};
pub use conditions::{IfMatch, etag, has_already};
pub use faults::{Faults, pointer_to};
pub use idempotency::IdempotencyKey;
pub use parameters::{PathId, Query, optional_id};
