//! `vitrina token`: a demo user's bearer token, from the running local edition.

use anyhow::Context as _;

use crate::client::demo_user::{self, DemoUser};
use crate::console::exit::OK;
use crate::console::global::Global;
use crate::console::output::print;
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::identity::IDENTITY;

pub(crate) async fn run(global: &Global, user: DemoUser) -> anyhow::Result<u8> {
    let folder = DataFolder::at(&global.data)?;
    // What is handed out is what a log-in gives, where there are log-ins.
    let running = folder.find_running_with(IDENTITY)?;
    let client = demo_user::sign_for(&folder, &running, user)?;
    let token = client.token().await?.context("nobody signed a token")?;
    print(token.expose())?;
    Ok(OK)
}
