//! No goal, but what all of them rest on: how much load the generator can make.

use super::page::pages;
use crate::load::closed_loop;
use crate::server::{self, Server};
use crate::world::World;

/// Requests a second of a server that does nothing.
pub(crate) async fn measure(world: &World) -> anyhow::Result<f64> {
    world.watch.now("measuring the load itself");
    let folder = world.folder()?;
    let bare = Server::start(&[server::BARE], &folder.path().join("bare.log")).await?;
    let seen = closed_loop(&pages(world, bare.address, |_| "/hello".to_owned())).await?;
    Ok(seen.stat().value)
}
