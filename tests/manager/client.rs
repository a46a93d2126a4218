//! Those who send requests meanwhile.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::world::{PATIENCE, until};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A client that sends one request after another, each on a connection of its own.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Load {
    /// Returns when the first has been answered.
    pub(crate) fn on(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let (stop, count) = (Arc::clone(&over), Arc::clone(&served));
        let thread = thread::spawn(move || {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match get(address) {
                    Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        });
        let load = Self { over, served, thread };
        load.go_on(1);
        load
    }

    /// Waits until so many more have been answered.
    #[track_caller]
    pub(crate) fn go_on(&self, requests: usize) {
        let wanted = self.served.load(Ordering::Relaxed) + requests;
        until("requests are answered", || self.served.load(Ordering::Relaxed) >= wanted);
    }

    /// None has failed.
    #[track_caller]
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let failed = self.thread.join().unwrap();
        let served = self.served.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {served} failed: {:?}", failed.len(), failed.first());
    }
}

/// The body of an answer with status 200.
pub(crate) fn get(address: SocketAddr) -> io::Result<String> {
    answer(send(address)?)
}

/// Sends a request; its answer is still to come.
pub(crate) fn send(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST.as_bytes())?;
    Ok(stream)
}

/// The body of an answer with status 200 that is on its way.
pub(crate) fn answer(mut stream: impl Read) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("a wrong answer: {text:?}"))),
    }
}

/// Nobody listens there.
#[track_caller]
pub(crate) fn is_refused(address: SocketAddr) {
    let refused = TcpStream::connect(address).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused), "{address}");
}
