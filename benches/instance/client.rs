//! A client for one request at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Whoever is not answered for so long is not answered at all.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 4096;
const HEADERS: usize = 32;

/// Opens a connection.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request without waiting for its answer.
pub(crate) fn send(mut stream: &TcpStream, path: &str) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

/// Reads an answer, which must be a 200 with a length; returns its body.
pub(crate) fn receive(mut stream: &TcpStream) -> io::Result<String> {
    let mut answer = [0; ANSWER_BYTES];
    let mut filled = 0;
    loop {
        match stream.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
        if let Some(body) = whole(&answer[..filled])? {
            return Ok(body);
        }
    }
}

/// Asks once.
pub(crate) fn ask(stream: &TcpStream, path: &str) -> io::Result<String> {
    send(stream, path)?;
    receive(stream)
}

/// The body, if the answer is whole; an error if it never will be.
fn whole(answer: &[u8]) -> io::Result<Option<String>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(io::Error::other)?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let mut fields = response.headers.iter();
    let length = fields.find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    let (Some(200), Some(length)) = (response.code, length) else {
        let answer = String::from_utf8_lossy(answer);
        return Err(io::Error::other(format!("not the answer expected: {answer:?}")));
    };
    let body = answer.get(head..head + length);
    Ok(body.map(|body| String::from_utf8_lossy(body).into_owned()))
}
