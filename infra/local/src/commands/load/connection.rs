//! Requests as bytes, and a connection that sends them. A general HTTP client would use the CPU that
//! the measured server needs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The most header fields of a response; more is an error.
const MAX_HEADERS: usize = 48;

/// Writes a request without a body.
pub fn get(path: &str, buffer: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to memory cannot fail, here and below.
    let _ = write!(buffer, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
}

/// Writes a request with a body. Each line of `headers` includes its line ending.
pub fn post(path: &str, headers: &str, body: &str, buffer: &mut Vec<u8>) {
    use std::io::Write as _;
    let length = body.len();
    let _ = write!(
        buffer,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
}

/// A persistent connection that sends one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Written by the caller, sent by [`Connection::call`].
    pub request: Vec<u8>,
    response: Vec<u8>,
    body: (usize, usize),
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let response = Vec::with_capacity(16 * 1024);
        Ok(Self { stream, request: Vec::with_capacity(1024), response, body: (0, 0) })
    }

    /// Sends the request, reads the whole response and returns its status.
    pub async fn call(&mut self) -> io::Result<u16> {
        self.stream.write_all(&self.request).await?;
        self.response.clear();
        loop {
            if self.stream.read_buf(&mut self.response).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some((status, head, body)) = read_head(&self.response)? {
                while self.response.len() < head + body {
                    if self.stream.read_buf(&mut self.response).await? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                self.body = (head, head + body);
                return Ok(status);
            }
        }
    }

    /// The body of the last response.
    pub fn body(&self) -> &[u8] {
        self.response.get(self.body.0..self.body.1).unwrap_or_default()
    }
}

/// The status and the lengths of head and body; `None` while the head is incomplete.
fn read_head(response: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let invalid = |message: &str| io::Error::new(ErrorKind::InvalidData, message);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(response).map_err(|error| invalid(&error.to_string()))?;
    let httparse::Status::Complete(length_of_head) = parsed else {
        return Ok(None);
    };
    let status = head.code.unwrap_or_default();
    let length = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map(|header| std::str::from_utf8(header.value).unwrap_or_default().parse::<usize>());
    match length {
        Some(Ok(length)) => Ok(Some((status, length_of_head, length))),
        None if status == 204 || status == 304 => Ok(Some((status, length_of_head, 0))),
        _ => Err(invalid("a response without its length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_read_once_its_head_is_complete() {
        let response = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read_head(&response[..30]).unwrap(), None);
        assert_eq!(read_head(response).unwrap(), Some((201, 43, 5)));
    }

    #[test]
    fn response_of_unknown_length_is_an_error() {
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        let empty = read_head(b"HTTP/1.1 304 Not Modified\r\n\r\n").unwrap();
        assert_eq!(empty, Some((304, 29, 0)));
    }

    #[test]
    fn request_has_headers_length_and_body() {
        let mut buffer = Vec::new();
        post("/x", "a: b\r\n", "{}", &mut buffer);
        let text = String::from_utf8(buffer).unwrap();
        assert_eq!(
            text,
            "POST /x HTTP/1.1\r\nhost: localhost\r\na: b\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
