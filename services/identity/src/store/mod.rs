//! Every SQL statement of the service.

pub(crate) mod attempts;
pub(crate) mod codes;
pub(crate) mod expired;
pub(crate) mod sessions;
pub(crate) mod users;
