//! A client for one request at a time: for looking before measuring, and for idle connections.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What every contender answers.
pub(crate) const BODY: &[u8] = b"Hello, Cluster!";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 4096;
const HEADERS: usize = 32;

/// Opens a connection.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks once and reads the answer, which must be the one that all contenders give.
pub(crate) fn ask(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; ANSWER_BYTES];
    let mut filled = 0;
    loop {
        match stream.read(&mut answer[filled..])? {
            0 => return Err(io::Error::other(unexpected(&answer[..filled]))),
            read => filled += read,
        }
        if whole(&answer[..filled])? {
            return Ok(());
        }
    }
}

/// Whether this is the whole answer; an error if it never will be.
fn whole(answer: &[u8]) -> io::Result<bool> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(io::Error::other)?;
    let httparse::Status::Complete(head) = parsed else { return Ok(false) };
    let body = &answer[head..];
    let says = |name: &str, value: &[u8]| {
        let mut fields = response.headers.iter();
        fields.any(|field| field.name.eq_ignore_ascii_case(name) && field.value == value)
    };
    let right = response.code == Some(200)
        && says("content-length", b"15")
        && says("content-type", b"text/plain; charset=utf-8")
        && BODY.starts_with(body);
    if right { Ok(body.len() == BODY.len()) } else { Err(io::Error::other(unexpected(answer))) }
}

fn unexpected(answer: &[u8]) -> String {
    format!("not the answer expected: {:?}", String::from_utf8_lossy(answer))
}
