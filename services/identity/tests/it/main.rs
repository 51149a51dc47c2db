//! The provider's router in-process, over a real database.

mod login;
mod password;
mod provider;
mod refresh;
mod signup;
mod support;
