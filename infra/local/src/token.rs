//! `vitrina token`: a demo user's bearer token, from the running local edition.

use anyhow::Context as _;

use crate::cli::{Global, OK, print};
use crate::client::Client;
use crate::data::DataFolder;
use crate::roles::Role;

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
pub async fn log_in(global: &Global, user: DemoUser) -> anyhow::Result<Client> {
    let folder = DataFolder::at(&global.data)?;
    let running = folder.find_running_with(Role::Identity)?;
    let client = Client::new(&running.url)?;
    let password = folder.demo_password()?;
    Ok(client.log_in(user.email(), &password).await?)
}

pub async fn run(global: &Global, user: DemoUser) -> anyhow::Result<u8> {
    let client = log_in(global, user).await?;
    let token = client.token().await?.context("a log-in gave no token")?;
    print(token.expose())?;
    Ok(OK)
}
