//! `vitrina token`: a bearer token for a demo user of the running local edition.

use anyhow::Context as _;

use crate::client::demo_user::{self, DemoUser};
use crate::console::exit::OK;
use crate::console::global::Global;
use crate::console::output::print;
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::identity::IDENTITY;

pub(crate) async fn run(global: &Global, user: DemoUser) -> anyhow::Result<u8> {
    let folder = DataFolder::at(&global.data)?;
    // It is the token of a login, so the edition must serve logins.
    let running = folder.find_running_with(IDENTITY)?;
    let client = demo_user::sign_for(&folder, &running, user)?;
    let token = client.token().await?.context("no token was signed")?;
    print(token.expose())?;
    Ok(OK)
}
