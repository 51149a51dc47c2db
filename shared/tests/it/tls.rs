//! TLS to the database as RDS and its proxy offer it: with a private authority, a real handshake,
//! and PostgreSQL behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use shared::bus;
use shared::database::{Authority, DatabaseConfig, connect, is_transient};
use shared::telemetry::causes;
use sqlx::postgres::PgConnectOptions;
use testkit::{TestDatabase, database, patient_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// PostgreSQL's `SSLRequest`: the length of eight bytes, and the code of TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate authority.
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

    /// TLS for a server named `name`, with a certificate of this authority.
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

/// A proxy in front of a database that terminates TLS, or refuses it.
struct Proxy {
    address: SocketAddr,
    database: TestDatabase,
    /// Bytes that the client sent without TLS, or within it.
    received: Arc<Mutex<Vec<u8>>>,
    authorities: tempfile::NamedTempFile,
}

impl Proxy {
    /// A proxy with this certificate, for a client that trusts `authorities`.
    async fn start(acceptor: Option<TlsAcceptor>, authorities: &str) -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let options = PgConnectOptions::from_str(&database.url).unwrap();
        let socket = options.get_socket().unwrap();
        let socket = socket.join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, seen) = (socket.clone(), Arc::clone(&seen));
                // An error is no failure here: some clients abort the handshake on purpose.
                tokio::spawn(serve(client, socket, acceptor.clone(), seen));
            }
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authorities).unwrap();
        Self { address, database, received, authorities: file }
    }

    fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }

    /// Connects by the name `host` and asks the database for its name.
    async fn ask(&self, host: &str) -> Result<String, sqlx::Error> {
        let options = PgConnectOptions::from_str(&self.database.url).unwrap();
        let (user, name) = (options.get_username(), options.get_database().unwrap());
        let port = self.address.port();
        // The settings decide about TLS, not the URL.
        let url = format!("postgres://{user}:hunter2@{host}:{port}/{name}?sslmode=disable");
        let config = DatabaseConfig {
            ca: Some(Authority::File(self.authorities.path().to_owned())),
            ..patient_config(url, 1)
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
    received: Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut asked = [0; 8];
    client.read_exact(&mut asked).await?;
    if asked != SSL_REQUEST {
        received.lock().unwrap().extend(asked);
        return Ok(());
    }
    let Some(acceptor) = acceptor else {
        client.write_all(b"N").await?;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await?;
        received.lock().unwrap().extend(rest);
        return Ok(());
    };
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let first = client.read_u8().await?;
    received.lock().unwrap().push(first);
    let mut server = UnixStream::connect(&socket).await?;
    server.write_u8(first).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn server_with_a_trusted_certificate_is_used() {
    let ca = Ca::new();
    // As in the bundle of RDS: behind other authorities.
    let bundle = format!("{}{}", Ca::new().pem, ca.pem);
    let proxy = Proxy::start(Some(ca.certify("localhost")), &bundle).await;
    let name = proxy.ask("localhost").await.unwrap();
    assert!(proxy.database.url.contains(&name));
    assert!(!proxy.received().is_empty());
}

#[tokio::test]
async fn server_of_an_untrusted_authority_gets_no_credentials() {
    let proxy = Proxy::start(Some(Ca::new().certify("localhost")), &Ca::new().pem).await;
    let error = proxy.ask("localhost").await.unwrap_err();
    assert!(causes(&error).contains("invalid peer certificate"), "{error:?}");
    assert_eq!(proxy.received(), b"");
    // The response asks clients to retry and does not reveal the cause.
    assert!(is_transient(&error));
}

#[tokio::test]
async fn server_with_another_hosts_certificate_gets_no_credentials() {
    let ca = Ca::new();
    let proxy = Proxy::start(Some(ca.certify("other.example")), &ca.pem).await;
    let error = proxy.ask("localhost").await.unwrap_err();
    assert!(causes(&error).contains("certificate not valid for name \"localhost\""), "{error:?}");
    assert_eq!(proxy.received(), b"");
}

#[tokio::test]
async fn server_without_tls_gets_no_credentials() {
    let proxy = Proxy::start(None, &Ca::new().pem).await;
    let error = proxy.ask("localhost").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::Tls(_)), "{error:?}");
    assert_eq!(proxy.received(), b"");
}

#[tokio::test]
async fn server_is_verified_by_its_name_with_every_authority() {
    let url = "postgres://db.example/vitrina?sslmode=require";
    let mode = |ca| {
        let config = DatabaseConfig { ca, ..patient_config(url.to_owned(), 1) };
        format!("{:?}", connect(&config).unwrap().connect_options().get_ssl_mode())
    };
    assert_eq!(mode(Some(Authority::System)), "VerifyFull");
    assert_eq!(mode(Some(Authority::File("/etc/rds.pem".into()))), "VerifyFull");
    assert_eq!(mode(None), "Require", "the URL decides");
}
