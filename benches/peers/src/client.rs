//! A client for looking before measuring, and for what the load generator does not measure.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use peers::HELLO;

const PATIENCE: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16 * 1024;
const HEADERS: usize = 32;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// What has come and belongs to no answer yet.
    rest: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head_bytes: usize,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Opens a connection.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, rest: Vec::new() })
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<()> {
        self.send_with(method, path, "", body)
    }

    /// The same, with header lines of one's own.
    pub(crate) fn send_with(
        &mut self,
        method: &str,
        path: &str,
        lines: &str,
        body: &[u8],
    ) -> io::Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}");
        if method == "POST" {
            request = format!("{request}Content-Length: {}\r\n", body.len());
        }
        self.stream.write_all((request + "\r\n").as_bytes())?;
        self.stream.write_all(body)
    }

    /// Asks once.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.receive()
    }

    /// Asks for what all contenders answer alike.
    pub(crate) fn hello(&mut self) -> io::Result<Answer> {
        self.hello_of(HELLO)
    }

    /// Asks for what this contender says.
    pub(crate) fn hello_of(&mut self, hello: &str) -> io::Result<Answer> {
        let answer = self.ask("GET", "/", b"")?;
        answer.must(answer.status == 200 && answer.body == hello.as_bytes(), "the hello")?;
        Ok(answer)
    }

    /// Reads one answer, which must have a length.
    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some((answer, taken)) = decode(&self.rest)? {
                self.rest.drain(..taken);
                return Ok(answer);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.rest.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// All that comes until the server closes the connection.
    pub(crate) fn everything(mut self) -> io::Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.rest)?;
        Ok(self.rest)
    }

    /// Waits until the server closes the connection, in whatever way.
    pub(crate) fn closed(&mut self) -> io::Result<()> {
        match self.stream.read_to_end(&mut self.rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// An error that shows this answer, unless it is right.
    pub(crate) fn must(&self, right: bool, what: &str) -> io::Result<()> {
        if right {
            return Ok(());
        }
        let begin = &self.body[..self.body.len().min(200)];
        let (status, headers) = (self.status, &self.headers);
        let body = String::from_utf8_lossy(begin);
        Err(io::Error::other(format!("{what} is wrong: {status} {headers:?} {body:?}")))
    }
}

/// The first answer in some bytes and its length, if it is whole; an error if it never will be.
fn decode(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let text = |header: &httparse::Header<'_>| {
        (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
    };
    let headers = response.headers.iter().map(text).collect();
    let status = response.code.unwrap_or_default();
    let mut answer = Answer { status, head_bytes, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == "chunked" {
        let Some((body, length)) = chunked(&bytes[head_bytes..])? else { return Ok(None) };
        answer.body = body;
        return Ok(Some((answer, head_bytes + length)));
    }
    let Ok(length) = answer.header("content-length").parse::<usize>() else {
        answer.must(false, "an answer without a length")?;
        return Ok(None);
    };
    let Some(body) = bytes.get(head_bytes..head_bytes + length) else { return Ok(None) };
    answer.body = body.to_vec();
    Ok(Some((answer, head_bytes + length)))
}

/// A body in chunks without trailers, and its length on the wire, if it is whole.
fn chunked(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let wrong = || io::Error::other("a chunk without a size");
        let parsed = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| wrong())?;
        let httparse::Status::Complete((line, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| wrong())?;
        let start = at + line;
        let Some(chunk) = bytes.get(start..start + size + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        at = start + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
