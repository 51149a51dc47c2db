//! The line to a database that somebody has to vouch for: an own authority, a real handshake, and
//! PostgreSQL behind it, as RDS and its proxy are reached.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use shared::bus;
use shared::config::Secret;
use shared::database::{Authority, DatabaseConfig, connect, is_transient};
use shared::telemetry::causes;
use sqlx::postgres::PgConnectOptions;
use testkit::{TestDatabase, database};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What a client asks with before anything else: eight bytes long, and the number of TLS.
const WANTS_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Who signs certificates.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What a server needs that calls itself `name`.
    fn certify(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A line to a database that ends TLS, or has none.
struct Line {
    address: SocketAddr,
    database: TestDatabase,
    /// What came of the client: without TLS, or after it.
    heard: Arc<Mutex<Vec<u8>>>,
    authorities: tempfile::NamedTempFile,
}

impl Line {
    /// To a server with this certificate, for a client that trusts what is in `authorities`.
    async fn to(acceptor: Option<TlsAcceptor>, authorities: &str) -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let options = PgConnectOptions::from_str(&database.url).unwrap();
        let socket = options.get_socket().unwrap();
        let socket = socket.join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, seen) = (socket.clone(), Arc::clone(&seen));
                // Who gives up a handshake is what some of these tests are about.
                tokio::spawn(serve(client, socket, acceptor.clone(), seen));
            }
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authorities).unwrap();
        Self { address, database, heard, authorities: file }
    }

    fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    /// Asks the database, by the address of `host`, what it is called.
    async fn ask(&self, host: &str) -> Result<String, sqlx::Error> {
        let options = PgConnectOptions::from_str(&self.database.url).unwrap();
        let (user, name) = (options.get_username(), options.get_database().unwrap());
        let port = self.address.port();
        // What the settings ask for counts, whatever the address says.
        let url = format!("postgres://{user}:hunter2@{host}:{port}/{name}?sslmode=disable");
        let config = DatabaseConfig {
            ca: Some(Authority::File(self.authorities.path().to_owned())),
            ..DatabaseConfig::new(Secret::new(url), 1, "vitrina tests")
        };
        let pool = connect(&config)?;
        let asked = sqlx::query_scalar("select current_database()::text").fetch_one(&pool).await;
        pool.close().await;
        asked
    }
}

async fn serve(
    mut client: TcpStream,
    socket: PathBuf,
    acceptor: Option<TlsAcceptor>,
    heard: Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut asked = [0; 8];
    client.read_exact(&mut asked).await?;
    if asked != WANTS_TLS {
        heard.lock().unwrap().extend(asked);
        return Ok(());
    }
    let Some(acceptor) = acceptor else {
        client.write_all(b"N").await?;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await?;
        heard.lock().unwrap().extend(rest);
        return Ok(());
    };
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let first = client.read_u8().await?;
    heard.lock().unwrap().push(first);
    let mut server = UnixStream::connect(&socket).await?;
    server.write_u8(first).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_the_authority_vouches_for_is_talked_to() {
    let ca = Ca::new();
    // As the bundle of RDS has it: behind others.
    let bundle = format!("{}{}", Ca::new().pem, ca.pem);
    let line = Line::to(Some(ca.certify("localhost")), &bundle).await;
    let name = line.ask("localhost").await.unwrap();
    assert!(line.database.url.contains(&name));
    assert!(!line.heard().is_empty());
}

#[tokio::test]
async fn a_server_that_another_authority_vouches_for_learns_nothing() {
    let line = Line::to(Some(Ca::new().certify("localhost")), &Ca::new().pem).await;
    let error = line.ask("localhost").await.unwrap_err();
    assert!(causes(&error).contains("invalid peer certificate"), "{error:?}");
    assert_eq!(line.heard(), b"");
    // Its callers are told to come again, and not what is wrong.
    assert!(is_transient(&error));
}

#[tokio::test]
async fn a_server_that_has_the_certificate_of_another_learns_nothing() {
    let ca = Ca::new();
    let line = Line::to(Some(ca.certify("other.example")), &ca.pem).await;
    let error = line.ask("localhost").await.unwrap_err();
    assert!(causes(&error).contains("certificate not valid for name \"localhost\""), "{error:?}");
    assert_eq!(line.heard(), b"");
}

#[tokio::test]
async fn a_server_without_tls_learns_neither_user_nor_password() {
    let line = Line::to(None, &Ca::new().pem).await;
    let error = line.ask("localhost").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::Tls(_)), "{error:?}");
    assert_eq!(line.heard(), b"");
}
