//! Is the app well? A thread for each app that wants to be asked, so that nobody else waits.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::api::{Desk, Question};
use crate::cluster::Address;
use crate::control::{Health, status_of};

/// Asks one app, until it is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    address: Address,
    health: Health,
    /// Closed with this: then the thread ends.
    _stop: Sender<()>,
}

impl Probe {
    /// Asks the app of this number there; what has come of it is left at the desk.
    pub(super) fn start(
        app: u32,
        address: Address,
        health: Health,
        desk: Desk,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (place, rules) = (address.clone(), health.clone());
        let ask = move || {
            let interval = Duration::from_millis(rules.interval);
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let result = probe(&place, &rules).map_err(|error| error.to_string());
                // Nobody waits for an answer to that.
                drop(desk.leave(Question::Health { app, result }));
            }
        };
        thread::Builder::new().name("corelane-health".to_owned()).spawn(ask)?;
        Ok(Self { address, health, _stop: stop })
    }

    /// Whether this is how such an app is asked.
    pub(super) fn suits(&self, address: &Address, health: &Health) -> bool {
        self.address == *address && self.health == *health
    }
}

/// Asks once.
fn probe(address: &Address, health: &Health) -> io::Result<()> {
    let timeout = Duration::from_millis(health.timeout);
    let status = match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            ask(stream, &address.to_string(), &health.path)?
        }
        Address::Unix { path, .. } => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            ask(stream, "localhost", &health.path)?
        }
    };
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(io::Error::other(format!("{} answered {status}", health.path)))
}

fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    status_of(&mut stream)
}

/// Who listens everywhere is asked here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_below_400_is_well() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::Tcp(([0, 0, 0, 0], port).into());
        let health = Health { path: "/health".to_owned(), interval: 1, timeout: 2000, failures: 1 };
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", Err("/health answered 500")),
            ("", Err("it ended the connection")),
        ] {
            let answering = listener.try_clone().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = answering.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\nHost: "));
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let found = probe(&address, &health).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
            server.join().unwrap();
        }
        drop(listener);
        assert!(probe(&address, &health).is_err());
    }
}
