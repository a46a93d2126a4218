//! A client that knows what became of each request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{Address, ClusterHandle};

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Answered {
        body: String,
        /// The connection closes after it.
        last: bool,
    },
    /// The connection was closed before any byte of the answer.
    Closed,
    /// It was closed within the answer.
    Cut,
    /// Nothing came for longer than anybody waits.
    Hung,
}

impl Asked {
    /// The body of an answer.
    #[track_caller]
    pub(crate) fn body(self) -> String {
        match self {
            Self::Answered { body, .. } => body,
            other => panic!("no answer: {other:?}"),
        }
    }

    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }
}

impl<S: Read + Write> Client<S> {
    /// On a connection whose reads time out after [`PATIENCE`].
    pub(crate) fn on(stream: S) -> Self {
        Self { stream }
    }

    /// Sends a request and waits for what becomes of it.
    pub(crate) fn ask(&mut self, path: &str) -> Asked {
        if self.send(path).is_err() { Asked::Closed } else { self.answer() }
    }

    /// As [`ask`](Self::ask); the client wants no more than this answer.
    pub(crate) fn ask_last(&mut self, path: &str) -> Asked {
        match write!(self.stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") {
            Ok(()) => self.answer(),
            Err(_) => Asked::Closed,
        }
    }

    pub(crate) fn send(&mut self, path: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    }

    pub(crate) fn answer(&mut self) -> Asked {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = parse(&text) {
                return answer;
            }
            match self.stream.read(&mut buffer) {
                Err(error) if is_timeout(&error) => return Asked::Hung,
                Ok(0) | Err(_) if text.is_empty() => return Asked::Closed,
                Ok(0) | Err(_) => return Asked::Cut,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Waits for the end of the connection, of whichever kind; false if none comes.
    pub(crate) fn sees_the_end(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => !is_timeout(&error),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The answer, once all of it is there.
fn parse(text: &[u8]) -> Option<Asked> {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let last = head.lines().any(|line| line == "connection: close");
    (body.len() >= length.trim().parse().unwrap())
        .then(|| Asked::Answered { body: body.to_owned(), last })
}

/// Where a cluster listens.
#[track_caller]
pub(crate) fn tcp(handle: &ClusterHandle) -> SocketAddr {
    let Address::Tcp(address) = handle.addresses()[0] else { panic!("{handle:?}") };
    address
}

/// Polls until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
