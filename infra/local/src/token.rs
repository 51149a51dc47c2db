//! `vitrina token`: a demo user's bearer token, from the running local edition.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use crate::cli::{Global, OK, print};
use crate::data::DataFolder;
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

#[derive(Deserialize)]
struct Session {
    access_token: String,
}

/// Logs a demo user in, as anybody else would be.
pub async fn log_in(url: &str, user: DemoUser) -> anyhow::Result<String> {
    let session: Session = reqwest::Client::new()
        .post(format!("{url}/v1/auth/login"))
        .json(&json!({"email": user.email(), "password": DEMO_PASSWORD}))
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("logging {} in", user.email()))?
        .json()
        .await
        .context("reading the answer to a log-in")?;
    Ok(session.access_token)
}

pub async fn run(global: &Global, user: DemoUser) -> anyhow::Result<u8> {
    let running = DataFolder::at(&global.data)?.find_running()?;
    print(&log_in(&running.url, user).await?);
    Ok(OK)
}
