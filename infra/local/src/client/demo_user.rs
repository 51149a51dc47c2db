//! Clients that act on behalf of the demo users of a local edition.
//!
//! They sign their tokens with the key in the data folder. Access to the key is proof enough, and an
//! attacker cannot lock operators out by guessing at a password.

use identity::keys::{Issuer, SigningKey};
use shared::id::Ids;

use super::Client;
use crate::console::global::Global;
use crate::edition::data_folder::{DataError, DataFolder, Running};
use crate::edition::parts::identity::{AUDIENCE, ISSUER};

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

/// A client of the edition that runs on the data folder, on behalf of a demo user.
pub(crate) fn act_as(global: &Global, user: DemoUser) -> anyhow::Result<Client> {
    let folder = DataFolder::at(&global.data)?;
    let running = folder.find_running()?;
    sign_for(&folder, &running, user)
}

/// A client of `running`, the edition on `folder`, on behalf of a demo user.
pub(crate) fn sign_for(
    folder: &DataFolder,
    running: &Running,
    user: DemoUser,
) -> anyhow::Result<Client> {
    let email = user.email();
    let account = running.demo_users.iter().find(|account| account.email == email).cloned();
    let account =
        account.ok_or_else(|| DataError::UnknownUser { path: folder.path().to_owned(), email })?;
    let file = folder.signing_key();
    let key = SigningKey::find(&file)?.ok_or(DataError::NoKey(file))?;
    let issuer = Issuer::new(key, ISSUER, AUDIENCE, Ids::System);
    Ok(Client::new(&running.url)?.with_issuer(issuer, account))
}
