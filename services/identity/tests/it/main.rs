//! The provider's router in-process, over a real database.

mod activate;
mod forgot_password;
mod jwks;
mod login;
mod logout;
mod provider;
mod refresh;
mod reset_password;
mod signup;
mod support;
