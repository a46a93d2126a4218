//! A server that answers as a script says: a thread for each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::Target;

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// What a connection needs of its socket.
pub(super) trait Socket: Read + Write + Send {
    fn hang_up(&self);
}

impl Socket for TcpStream {
    fn hang_up(&self) {
        let _gone = self.shutdown(Shutdown::Both);
    }
}

impl Socket for UnixStream {
    fn hang_up(&self) {
        let _gone = self.shutdown(Shutdown::Both);
    }
}

/// One connection. Dropping it closes it.
pub(super) struct Session {
    socket: Box<dyn Socket>,
    /// For a reset.
    tcp: Option<TcpStream>,
    input: Vec<u8>,
    /// How many connections that asked for something there were before.
    pub number: usize,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    asking: AtomicUsize,
    requests: AtomicUsize,
}

impl Session {
    /// Waits for the next request, without a body; false if there is none.
    pub(super) fn request(&mut self) -> bool {
        let length = super::REQUEST.len();
        while self.input.len() < length {
            let mut piece = [0; 4096];
            match self.socket.read(&mut piece) {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.input.extend_from_slice(&piece[..read]),
            }
        }
        assert_eq!(&self.input[..length], super::REQUEST);
        self.input.drain(..length);
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Whether a request has come by now, or at once.
    pub(super) fn has_another(&mut self) -> bool {
        if self.input.is_empty() {
            let tcp = self.tcp.as_mut().unwrap();
            tcp.set_nonblocking(true).unwrap();
            let mut piece = [0; 4096];
            let read = tcp.read(&mut piece).unwrap_or(0);
            tcp.set_nonblocking(false).unwrap();
            self.input.extend_from_slice(&piece[..read]);
        }
        !self.input.is_empty()
    }

    /// Drops what has been read; returns how much that was.
    pub(super) fn take_input(&mut self) -> usize {
        std::mem::take(&mut self.input).len()
    }

    /// Answers; whoever has gone does not hear it.
    pub(super) fn say(&mut self, answer: &str) {
        let _gone = self.socket.write_all(answer.as_bytes());
    }

    /// Reads and drops so many bytes.
    pub(super) fn swallow(&mut self, bytes: usize) -> bool {
        self.socket.read_exact(&mut vec![0; bytes]).is_ok()
    }

    /// Closes by a reset.
    pub(super) fn reset(self) {
        let tcp = self.tcp.as_ref().unwrap();
        socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Serves until it is dropped.
pub(super) struct Server {
    target: Target,
    counts: Arc<Counts>,
}

impl Server {
    /// Has `script` serve each connection that says something.
    pub(super) fn new(script: impl Fn(Session) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(vec![listener.local_addr().unwrap()]);
        let accept = move || {
            let socket = listener.accept().unwrap().0;
            socket.set_nodelay(true).unwrap();
            let tcp = socket.try_clone().unwrap();
            (Box::new(socket) as Box<dyn Socket>, Some(tcp))
        };
        Self::serve(target, accept, script)
    }

    /// The same at a Unix socket.
    pub(super) fn unix(path: &Path, script: impl Fn(Session) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || (Box::new(listener.accept().unwrap().0) as Box<dyn Socket>, None);
        Self::serve(Target::Unix(path.to_owned()), accept, script)
    }

    fn serve(
        target: Target,
        accept: impl Fn() -> (Box<dyn Socket>, Option<TcpStream>) + Send + 'static,
        script: impl Fn(Session) + Send + Sync + 'static,
    ) -> Self {
        let (script, counts) = (Arc::new(script), Arc::<Counts>::default());
        let counting = Arc::clone(&counts);
        // The thread waits for a next connection for as long as the tests run.
        std::thread::spawn(move || {
            loop {
                let (socket, tcp) = accept();
                let (script, counts) = (Arc::clone(&script), Arc::clone(&counting));
                std::thread::spawn(move || {
                    let mut session = Session { socket, tcp, input: vec![0; 0], number: 0, counts };
                    let mut first = [0; 4096];
                    let read = session.socket.read(&mut first).unwrap_or(0);
                    if read > 0 {
                        session.input.extend_from_slice(&first[..read]);
                        session.number = session.counts.asking.fetch_add(1, Ordering::Relaxed);
                        script(session);
                    }
                });
            }
        });
        Self { target, counts }
    }

    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// How many connections have said something.
    pub(super) fn asking(&self) -> usize {
        self.counts.asking.load(Ordering::Relaxed)
    }

    /// How many requests have been read.
    pub(super) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // There are two descriptors of it.
        if let Some(tcp) = &self.tcp
            && socket2::SockRef::from(tcp).linger().unwrap().is_none()
        {
            self.socket.hang_up();
        }
    }
}
