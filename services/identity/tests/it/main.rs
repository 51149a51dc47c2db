//! The provider's router in-process, over a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod activate;
mod bad_input;
mod expiry;
mod forgot_password;
mod hashing;
mod jwks;
mod locked_rows;
mod login;
mod logout;
mod openid_configuration;
mod provider;
mod races;
mod refresh;
mod reset_password;
mod settings;
mod signup;
mod stored_rows;
mod support;
