//! The rate of the load generator itself, which limits every other measurement.

use super::page::pages;
use crate::load::closed_loop;
use crate::server::{self, Server};
use crate::setup::Setup;

/// Requests a second to a server that does nothing.
pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<f64> {
    setup.progress.now("measuring the load generator");
    let folder = setup.folder()?;
    let bare = Server::start(&[server::BARE], &folder.path().join("bare.log")).await?;
    let seen = closed_loop(&pages(setup, bare.address, |_| "/hello".to_owned())).await?;
    Ok(seen.stat().value)
}
