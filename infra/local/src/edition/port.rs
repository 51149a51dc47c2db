//! Listening on a port, and naming the process that holds it if it is taken.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why the edition cannot listen on an address.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("{address} is taken by {holder}; stop it, or choose another address with --listen")]
    Taken { address: SocketAddr, holder: String },
    #[error("listening on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

pub async fn listen(address: SocketAddr) -> Result<TcpListener, PortError> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(PortError::Taken { address, holder: holder(address.port()) })
        }
        Err(source) => Err(PortError::Listen { address, source }),
    }
}

/// A description of the process that listens on `port`.
pub fn holder(port: u16) -> String {
    let held = listeners::get_all().ok().and_then(|all| {
        all.into_iter().find(|listener| listener.socket.port() == port).map(|one| one.process)
    });
    match held {
        Some(process) => format!("{} (process {})", process.name, process.pid),
        None => "a process of another user".to_owned(),
    }
}
