//! WebSocket: a client that knows just enough of it, and the load that it makes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::failure::{Doing, Failure};
use crate::options::Plan;
use crate::process;
use crate::results::{CPU, RATE};
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(5);
const MESSAGE_BYTES: u8 = 128;
/// Opcode, length of 16 bits.
const HEAD_BYTES: usize = 4;
const ANSWER_BYTES: usize = HEAD_BYTES + MESSAGE_BYTES as usize;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
/// One binary frame, whole; unmasked from the server, masked from the client.
const FINAL_BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
const LENGTH_OF_16_BITS: u8 = 126;

/// Opens a WebSocket.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(io::Error::other(format!("no WebSocket: {}", String::from_utf8_lossy(&head))))
}

/// Whether a message comes back as it was sent.
pub(crate) fn check(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    for _ in 0..2 {
        stream.write_all(&question())?;
        let mut found = [0; ANSWER_BYTES];
        stream.read_exact(&mut found)?;
        must_be(&found)?;
    }
    Ok(())
}

/// Sends on each connection whenever the last message has come back.
pub(crate) fn load(
    server: &Server,
    connections: usize,
    plan: Plan,
) -> Result<BTreeMap<String, f64>, Failure> {
    let mut load = Load::open(server.address(), connections).map_err(|it| server.failed(it))?;
    load.run(plan.warm_up).map_err(|error| server.failed(error))?;
    let cpu = || process::cpu_seconds(server.group()).doing("reading the server's CPU time");
    let (before, begun) = (cpu()?, Instant::now());
    let messages = load.run(plan.seconds).map_err(|error| server.failed(error))?;
    let (used, seconds) = (cpu()? - before, begun.elapsed().as_secs_f64());
    Ok(BTreeMap::from([
        (RATE.to_owned(), messages / seconds),
        (CPU.to_owned(), used * 1e6 / messages),
    ]))
}

struct Load {
    epoll: rustix::fd::OwnedFd,
    sockets: Vec<Socket>,
}

struct Socket {
    stream: TcpStream,
    found: Vec<u8>,
}

impl Load {
    fn open(address: SocketAddr, connections: usize) -> io::Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        for number in 0..connections {
            let mut stream = connect(address)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            stream.write_all(&question())?;
            sockets.push(Socket { stream, found: Vec::new() });
        }
        Ok(Load { epoll, sockets })
    }

    /// For so long; returns how many messages have come back.
    fn run(&mut self, seconds: f64) -> io::Result<f64> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let patience = PATIENCE.try_into().map_err(io::Error::other)?;
        let mut messages = 0.0;
        let mut ready = Vec::with_capacity(self.sockets.len());
        while Instant::now() < end {
            ready.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&patience))?;
            if ready.is_empty() {
                return Err(io::Error::other("no message comes back"));
            }
            for event in &ready {
                let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
                if self.sockets[number].go_on()? {
                    messages += 1.0;
                }
            }
        }
        Ok(messages)
    }
}

impl Socket {
    /// Reads what has come, and sends anew after a whole message.
    fn go_on(&mut self) -> io::Result<bool> {
        let mut buffer = [0; ANSWER_BYTES];
        let wanted = ANSWER_BYTES - self.found.len();
        match self.stream.read(&mut buffer[..wanted])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => self.found.extend_from_slice(&buffer[..read]),
        }
        if self.found.len() < ANSWER_BYTES {
            return Ok(false);
        }
        must_be(&self.found)?;
        self.found.clear();
        self.stream.write_all(&question())?;
        Ok(true)
    }
}

/// The message as the client sends it.
fn question() -> Vec<u8> {
    let head = [FINAL_BINARY, MASKED | LENGTH_OF_16_BITS, 0, MESSAGE_BYTES];
    let masked = (0..MESSAGE_BYTES).zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    head.into_iter().chain(MASK).chain(masked).collect()
}

/// An error unless this is the message as it comes back.
fn must_be(found: &[u8]) -> io::Result<()> {
    let expected = [FINAL_BINARY, LENGTH_OF_16_BITS, 0, MESSAGE_BYTES].into_iter();
    if found.iter().copied().eq(expected.chain(0..MESSAGE_BYTES)) {
        return Ok(());
    }
    Err(io::Error::other(format!("another message came back: {found:?}")))
}
