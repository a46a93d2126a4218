//! An app, served.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

use super::{TestRequest, TestResponse};
use crate::app::App;
use crate::cluster::{Address, Cluster, ClusterHandle};
use crate::h1::{AskedMethod, ReplyDecoder};
use crate::server::Timeouts;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// An app that is served on a free port of this machine, until this is dropped.
///
/// ```
/// use corelane::App;
/// use corelane::test::TestServer;
///
/// let server = TestServer::new(|| App::new().get("/", async || "Hello, Cluster!"));
/// assert_eq!(server.get("/").text(), "Hello, Cluster!");
/// ```
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    handle: Option<ClusterHandle>,
}

impl TestServer {
    /// Serves an app by one worker.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn new(app: impl Fn() -> App + Send + Sync + 'static) -> Self {
        let drain = Duration::from_secs(1);
        let timeouts = Timeouts { drain, idle_grace: Duration::ZERO, ..Timeouts::default() };
        Self::start(Cluster::new(app).instances(1).timeouts(timeouts))
    }

    /// Serves a cluster, for tests that set more than its app. It listens on a free port besides
    /// whatever it listens on.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn start(cluster: Cluster) -> Self {
        let handle = match cluster.listen("127.0.0.1:0").spawn() {
            Ok(handle) => handle,
            Err(error) => panic!("the server does not start: {error}"),
        };
        let tcp = |address: Address| match address {
            Address::Tcp(address) => Some(address),
            Address::Unix { .. } => None,
        };
        let address = handle.addresses().into_iter().filter_map(tcp).next_back();
        let address = address.expect("invariant: it listens on a port");
        Self { address, handle: Some(handle) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The cluster that serves.
    ///
    /// # Panics
    /// Never: it is there as long as this is.
    pub fn cluster(&self) -> &ClusterHandle {
        self.handle.as_ref().expect("invariant: taken when dropped")
    }

    /// GETs a path.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> TestResponse {
        self.send(TestRequest::get(path))
    }

    /// Sends a request on a connection of its own, and waits for the whole answer.
    ///
    /// # Panics
    /// There is no answer within ten seconds, or not a whole one.
    #[track_caller]
    pub fn send(&self, request: TestRequest) -> TestResponse {
        let what = format!("{} {}", request.method(), self.url(""));
        match self.exchange(&request.header(CONNECTION.as_str(), "close")) {
            Ok(response) => response,
            Err(error) => panic!("no answer to {what}: {error}"),
        }
    }

    fn exchange(&self, request: &TestRequest) -> io::Result<TestResponse> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let asked = AskedMethod::of(request.method());
        // Who is refused before it has sent all is answered all the same.
        let sent = stream.write_all(&request.encode(&self.address.to_string()));
        let (mut received, until) = (Vec::new(), Instant::now() + PATIENCE);
        match read_until(&mut stream, &mut received, until) {
            Err(error) if received.is_empty() => Err(sent.err().unwrap_or(error)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            _ => read(&received, asked),
        }
    }
}

/// Reads to the end, if that comes in time: a stream may have none.
fn read_until(stream: &mut TcpStream, into: &mut Vec<u8>, until: Instant) -> io::Result<()> {
    let mut piece = vec![0; READ_BYTES];
    while Instant::now() < until {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => into.extend_from_slice(&piece[..length]),
            // The end of a ring interrupts whoever has made one on this thread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let problem = format!("it has no end after {PATIENCE:?}, only {} bytes", into.len());
    Err(io::Error::new(io::ErrorKind::TimedOut, problem))
}

/// Reads an answer that is all there is.
fn read(received: &[u8], asked: AskedMethod) -> io::Result<TestResponse> {
    let (mut decoder, mut body, mut rest) = (ReplyDecoder::default(), Vec::new(), received);
    let head = loop {
        let piece = decoder.decode(rest, asked).map_err(io::Error::other)?;
        body.extend_from_slice(&rest[piece.payload.clone()]);
        rest = &rest[piece.consumed..];
        if let Some(head) = piece.done {
            break head;
        }
        if piece.consumed == 0 || rest.is_empty() {
            let cut = || io::Error::other(format!("cut off after {} bytes", received.len()));
            break decoder.end().ok_or_else(cut)?;
        }
    };
    let status = StatusCode::from_u16(head.status).map_err(io::Error::other)?;
    Ok(TestResponse::new(status, headers(received), Bytes::from(body)))
}

/// The header lines of an answer.
fn headers(received: &[u8]) -> HeaderMap {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(received.len());
    let lines = received[..end].split(|byte| *byte == b'\n').skip(1);
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(header) {
        headers.append(name, value);
    }
    headers
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take()
            && let Err(error) = handle.shutdown()
            && !std::thread::panicking()
        {
            panic!("the server does not stop: {error}");
        }
    }
}
