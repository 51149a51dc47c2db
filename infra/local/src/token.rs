//! `vitrina token`: a demo user's bearer token, from the running local edition.

use anyhow::Context as _;
use shared::config::Secret;

use crate::cli::{Global, OK, print};
use crate::client::{Client, ClientError};
use crate::edition::DEMO_PASSWORD;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum DemoUser {
    Seller,
    Buyer,
    Operator,
}

impl DemoUser {
    pub fn email(self) -> &'static str {
        match self {
            Self::Seller => "seller@demo.vitrina.example",
            Self::Buyer => "buyer@demo.vitrina.example",
            Self::Operator => "operator@demo.vitrina.example",
        }
    }
}

/// A client on behalf of a demo user, who logs in as anybody else would.
pub async fn log_in(client: &Client, user: DemoUser) -> Result<Client, ClientError> {
    let password = Secret::new(DEMO_PASSWORD.to_owned());
    client.log_in(user.email(), &password).await
}

pub async fn run(global: &Global, user: DemoUser) -> anyhow::Result<u8> {
    let client = log_in(&Client::of_running(global)?, user).await?;
    let token = client.token().await?.context("a log-in gave no token")?;
    print(token.expose());
    Ok(OK)
}
