//! Whether a server accepts connections: tried with a startup message, without a client library.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::{PORT, SUPERUSER};

/// The response of the server to a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It accepts connections (or refuses this one for a reason that only a running server has).
    Ready,
    /// It is starting, recovering or stopping, with its own message.
    NotYet(String),
    /// No response.
    NoResponse,
}

/// Timeout for a response.
const TIMEOUT: Duration = Duration::from_secs(2);
/// SQLSTATE `cannot_connect_now`.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Tries the server with its socket in `directory`. Blocks for up to 2 s.
pub(super) fn check(directory: &Path) -> Readiness {
    connect(directory).unwrap_or(Readiness::NoResponse)
}

fn connect(directory: &Path) -> io::Result<Readiness> {
    let mut stream = UnixStream::connect(directory.join(format!(".s.PGSQL.{PORT}")))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&startup("postgres"))?;
    let mut kind = [0; 1];
    stream.read_exact(&mut kind)?;
    match &kind {
        b"R" => {
            // A Terminate message avoids a log line about a lost connection. Failure does not matter.
            stream.write_all(b"X\0\0\0\x04").ok();
            Ok(Readiness::Ready)
        }
        b"E" => {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let length = u64::from(u32::from_be_bytes(length).clamp(4, 64 << 10) - 4);
            let mut body = Vec::new();
            stream.take(length).read_to_end(&mut body)?;
            Ok(refusal(&body))
        }
        _ => Ok(Readiness::NoResponse),
    }
}

/// The startup message: length, protocol 3.0, then names and values.
pub(super) fn startup(database: &str) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for word in ["user", SUPERUSER, "database", database] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// Parses an `ErrorResponse`: fields that start with a type byte and end with a zero.
fn refusal(body: &[u8]) -> Readiness {
    let field = |letter: u8| {
        body.split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&letter))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    };
    if field(b'C').as_deref() == Some(CANNOT_CONNECT_NOW) {
        Readiness::NotYet(field(b'M').unwrap_or_default())
    } else {
        Readiness::Ready
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn response_to(reply: &'static [u8]) -> Readiness {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}"))).unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut asked = vec![0; startup("postgres").len()];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(asked, startup("postgres"));
            stream.write_all(reply).unwrap();
        });
        let response = check(folder.path());
        server.join().unwrap();
        response
    }

    #[test]
    fn starting_ready_and_silent_servers_are_distinguished() {
        assert_eq!(response_to(b"R\0\0\0\x08\0\0\0\0"), Readiness::Ready);
        let starting = b"E\0\0\0\x1bSFATAL\0C57P03\0Mstarting\0\0";
        assert_eq!(response_to(starting), Readiness::NotYet("starting".to_owned()));
        let full = b"E\0\0\0\x1bSFATAL\0C53300\0Mtoo many\0\0";
        assert_eq!(response_to(full), Readiness::Ready);
        assert_eq!(response_to(b""), Readiness::NoResponse);
        assert_eq!(check(Path::new("/no/such/folder")), Readiness::NoResponse);
    }
}
