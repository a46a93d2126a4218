//! What is asked, and what must be answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// Whoever is owed a byte and waits longer for it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const CHUNK: usize = 16 * 1024;
/// How long `Date: ` has been since RFC 7231: `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// A request and its answer, to the byte.
pub(crate) struct Question {
    pub(crate) request: Vec<u8>,
    /// The server closes after the answer.
    pub(crate) closes: bool,
    answer: Vec<u8>,
    date: Range<usize>,
}

/// Every question.
pub(crate) struct Book {
    pub(crate) root: Question,
    pub(crate) root_last: Question,
    pub(crate) echo: Question,
    pub(crate) slow: Question,
    pub(crate) handler_panic: Question,
    pub(crate) malformed: Vec<Question>,
}

/// What no server may take for a request.
const MALFORMED: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\x1f\x03\x03\r\n\r\n",
];

/// How an exchange failed.
pub(crate) enum Miss {
    /// The connection ended before the answer did.
    Early,
    /// A byte that was owed did not come.
    Hung,
    /// Something else was answered, or could not be asked.
    Wrong(String),
}

impl Book {
    /// Asks every question once, and checks what can be known of the answers.
    pub(crate) fn learn(address: SocketAddr) -> io::Result<Book> {
        let learn = |request: String, closes, status, body: &str| {
            Question::learn(address, request.into_bytes(), closes, status, body)
        };
        let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned();
        let echoed = "0123456789abcdef".repeat(64);
        let length = echoed.len();
        let echo =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{echoed}");
        let malformed = MALFORMED.iter().map(|text| learn((*text).to_owned(), true, 400, ""));
        Ok(Book {
            root: learn(get("/"), false, 200, "Hello, Cluster!")?,
            root_last: learn(last, true, 200, "Hello, Cluster!")?,
            echo: learn(echo, false, 200, &echoed)?,
            slow: learn(get("/slow"), false, 200, "slow")?,
            handler_panic: learn(get("/handler-panic"), true, 500, "")?,
            malformed: malformed.collect::<io::Result<_>>()?,
        })
    }
}

impl Question {
    fn learn(
        address: SocketAddr,
        request: Vec<u8>,
        closes: bool,
        status: u16,
        body: &str,
    ) -> io::Result<Question> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&request)?;
        let (mut answer, mut chunk) = (Vec::new(), [0; CHUNK]);
        while !(answer.ends_with(body.as_bytes()) && is_whole(&answer, body)) {
            match stream.read(&mut chunk)? {
                0 => break,
                read => answer.extend_from_slice(&chunk[..read]),
            }
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let date = text.to_ascii_lowercase().find("\r\ndate: ").map(|at| at + "\r\ndate: ".len());
        let begins = text.starts_with(&format!("HTTP/1.1 {status} "));
        let date = date.map(|at| at..at + DATE_BYTES);
        match date {
            Some(date) if begins && is_whole(&answer, body) => {
                Ok(Question { request, closes, answer, date })
            }
            _ => {
                let request = String::from_utf8_lossy(&request);
                Err(io::Error::other(format!("{request:?} was answered by {text:?}")))
            }
        }
    }

    /// Reads the answer; `buffer` holds what came behind the one before, and then behind this.
    pub(crate) fn receive(&self, mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<(), Miss> {
        let mut chunk = [0; CHUNK];
        loop {
            let arrived = &buffer[..buffer.len().min(self.answer.len())];
            if let Some(differs) = (0..arrived.len()).find(|at| self.differs(arrived, *at)) {
                let text = String::from_utf8_lossy(&buffer[..buffer.len().min(600)]);
                return Err(Miss::Wrong(format!("from byte {differs} not the answer: {text:?}")));
            }
            if arrived.len() == self.answer.len() {
                return self.dated(arrived).map(|()| drop(buffer.drain(..self.answer.len())));
            }
            match stream.read(&mut chunk) {
                Ok(0) => return Err(Miss::Early),
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
                Err(error) => return Err(Miss::from(error)),
            }
        }
    }

    fn differs(&self, arrived: &[u8], at: usize) -> bool {
        !self.date.contains(&at) && arrived[at] != self.answer[at]
    }

    fn dated(&self, answer: &[u8]) -> Result<(), Miss> {
        let date = String::from_utf8_lossy(&answer[self.date.clone()]);
        let parsed = httpdate::parse_http_date(&date);
        parsed.map(drop).map_err(|_| Miss::Wrong(format!("no date: {date:?}")))
    }
}

/// Nothing may come any more, and the end must.
pub(crate) fn receive_end(mut stream: &TcpStream, buffer: &[u8]) -> Result<(), Miss> {
    let mut chunk = [0; 1];
    match stream.read(&mut chunk) {
        Ok(0) if buffer.is_empty() => Ok(()),
        Ok(_) => Err(Miss::Wrong("bytes behind the last answer".to_owned())),
        Err(error) => Err(Miss::from(error)),
    }
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Miss {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, WouldBlock};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset => Miss::Early,
            TimedOut | WouldBlock => Miss::Hung,
            _ => Miss::Wrong(error.to_string()),
        }
    }
}

/// Whether the answer has its whole head and, where the body is known, that body behind it.
fn is_whole(answer: &[u8], body: &str) -> bool {
    let text = String::from_utf8_lossy(answer);
    // What an error's body says is not known here: it is learned up to the end of the connection.
    text.split_once("\r\n\r\n").is_some_and(|(_, rest)| body.is_empty() || rest == body)
}
