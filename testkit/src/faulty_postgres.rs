//! A proxy in front of PostgreSQL that injects faults between two exchanges of its protocol.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::{Buf as _, BufMut as _, BytesMut};
use shared::database::IS_IDLE;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf as TcpRead, OwnedWriteHalf as TcpWrite};
use tokio::net::unix::{OwnedReadHalf as UnixRead, OwnedWriteHalf as UnixWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Faults;

/// A fault of an exchange with PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresFault {
    /// The request never arrives, and the connection closes.
    RequestLost,
    /// The request takes effect, and the connection closes before the response.
    ResponseLost,
    /// The request has no effect; the response is an error with this SQLSTATE.
    Refused(&'static str),
    /// The request never arrives and the connection stays open, as after a failover. Only the
    /// caller's timeout ends it, so it is not in [`Self::ALL`].
    Silent,
}

impl PostgresFault {
    /// One fault of each kind. The SQLSTATEs mean deadlock, serialisation failure, too many
    /// connections, query cancelled, shutdown, disk full, out of memory, read-only (a failover),
    /// lock timeout.
    pub const ALL: [Self; 11] = [
        Self::RequestLost,
        Self::ResponseLost,
        Self::Refused("40P01"),
        Self::Refused("40001"),
        Self::Refused("53300"),
        Self::Refused("57014"),
        Self::Refused("57P01"),
        Self::Refused("53100"),
        Self::Refused("53200"),
        Self::Refused("25006"),
        Self::Refused("55P03"),
    ];
}

/// A database behind the proxy.
#[derive(Debug)]
pub struct FaultyPostgres {
    /// URL of the database through the proxy.
    pub url: String,
    pub faults: Faults<PostgresFault>,
    _stop: DropGuard,
}

/// Starts a proxy for the database at `url`, which must come from [`super::database`]. Only
/// exchanges that execute a statement can fail. A plan sees each of them as `execute`, or as `begin` if it
/// begins a transaction.
pub async fn faulty_postgres(url: &str) -> FaultyPostgres {
    let options = PgConnectOptions::from_str(url).unwrap();
    let folder = options.get_socket().unwrap();
    let socket = folder.join(format!(".s.PGSQL.{}", options.get_port()));
    let (user, name) = (options.get_username(), options.get_database().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let faults = Faults::default();
    let stop = CancellationToken::new();
    let (all_faults, stopped) = (faults.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stopped.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (client, _) = accepted.unwrap();
            client.set_nodelay(true).unwrap();
            let (socket, faults, stopped) = (socket.clone(), all_faults.clone(), stopped.clone());
            tokio::spawn(async move {
                // If the server is gone, the client sees its connection close.
                if let Ok(server) = UnixStream::connect(&socket).await {
                    connect(client, server, faults, stopped).await;
                }
            });
        }
    });
    let url = format!("postgres://{user}@127.0.0.1:{port}/{name}?sslmode=disable");
    FaultyPostgres { url, faults, _stop: stop.drop_guard() }
}

/// State shared by the two directions of a connection.
struct ProxiedConnection {
    faults: Faults<PostgresFault>,
    /// Whether the current response is dropped; the connection closes at its end.
    is_response_dropped: AtomicBool,
    /// The transaction status that the server reported last.
    transaction: AtomicU8,
    to_client: Mutex<TcpWrite>,
}

async fn connect(
    client: TcpStream,
    server: UnixStream,
    faults: Faults<PostgresFault>,
    stop: CancellationToken,
) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let connection = ProxiedConnection {
        faults,
        is_response_dropped: AtomicBool::new(false),
        transaction: AtomicU8::new(b'I'),
        to_client: Mutex::new(to_client),
    };
    // When one direction ends, both connections close.
    tokio::select! {
        () = stop.cancelled() => {}
        _ = connection.forward_requests(from_client, to_server) => {}
        _ = connection.forward_responses(from_server) => {}
    }
}

/// Removes a complete message from `buffer`. Returns its type, and its bytes including the type.
fn message(buffer: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let length = buffer.get(1..5)?.get_i32();
    let whole = usize::try_from(length).ok()? + 1;
    (buffer.len() >= whole).then(|| (buffer[0], buffer.split_to(whole)))
}

impl ProxiedConnection {
    async fn forward_requests(&self, mut from: TcpRead, mut to: UnixWrite) -> std::io::Result<()> {
        // The startup message has no type.
        let length = from.read_i32().await?;
        let rest = usize::try_from(length).unwrap_or_default().saturating_sub(4);
        let mut startup = vec![0; rest];
        from.read_exact(&mut startup).await?;
        to.write_i32(length).await?;
        to.write_all(&startup).await?;
        let (mut buffer, mut exchange, mut call) = (BytesMut::new(), BytesMut::new(), None);
        loop {
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            while let Some((kind, bytes)) = message(&mut buffer) {
                // The pool asks this of a returned connection, at a time of its own.
                let asks_for_idle = kind == b'Q' && bytes[5..].starts_with(IS_IDLE.as_bytes());
                if matches!(kind, b'Q' | b'E') && !asks_for_idle {
                    let begins = kind == b'Q' && bytes[5..].starts_with(b"BEGIN");
                    call = Some(if begins { "begin" } else { "execute" });
                }
                exchange.extend_from_slice(&bytes);
                if !matches!(kind, b'Q' | b'S') {
                    continue;
                }
                // Which connection of a pool is used decides whether a statement is prepared or a
                // connection tested first. So only executions count, for a plan to be reproducible.
                let fault = call.take().and_then(|call| self.faults.decide(call));
                match fault {
                    None => to.write_all(&exchange).await?,
                    Some(PostgresFault::RequestLost) => return Ok(()),
                    Some(PostgresFault::ResponseLost) => {
                        self.is_response_dropped.store(true, Ordering::SeqCst);
                        to.write_all(&exchange).await?;
                    }
                    Some(PostgresFault::Refused(code)) => self.refuse(code).await?,
                    Some(PostgresFault::Silent) => std::future::pending().await,
                }
                exchange.clear();
            }
            // Messages outside an exchange, such as a password or a termination, are forwarded at
            // once.
            if exchange.first().is_some_and(|kind| matches!(kind, b'p' | b'X')) {
                to.write_all(&exchange).await?;
                exchange.clear();
            }
        }
    }

    /// Responds with an error in place of PostgreSQL.
    async fn refuse(&self, code: &str) -> std::io::Result<()> {
        let fields = format!("SERROR\0VERROR\0C{code}\0Mplanted\0\0");
        let mut response = BytesMut::new();
        response.put_u8(b'E');
        response.put_i32(4 + i32::try_from(fields.len()).unwrap_or(0));
        response.put_slice(fields.as_bytes());
        let failed = if self.transaction.load(Ordering::SeqCst) == b'I' { b'I' } else { b'E' };
        response.put_slice(&[b'Z', 0, 0, 0, 5, failed]);
        self.to_client.lock().await.write_all(&response).await
    }

    async fn forward_responses(&self, mut from: UnixRead) -> std::io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let mut forwarded = BytesMut::new();
            while let Some((kind, bytes)) = message(&mut buffer) {
                if kind == b'Z' {
                    self.transaction.store(bytes[5], Ordering::SeqCst);
                    if self.is_response_dropped.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                }
                forwarded.unsplit(bytes);
            }
            if !self.is_response_dropped.load(Ordering::SeqCst) {
                self.to_client.lock().await.write_all(&forwarded).await?;
            }
        }
    }
}
