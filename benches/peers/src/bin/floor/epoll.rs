//! The bare epoll loop: edge-triggered, one `recv` and one `send` per request.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;

use crate::answer::{Answer, Input};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// The listener's token; connections have their slot's number.
const LISTENER: u64 = u64::MAX;

/// What the kernel says once when no more will come.
const END: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

struct Connection {
    stream: TcpStream,
    input: Input,
    output: Vec<u8>,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Wait,
    Close,
}

/// Serves until something fails that concerns all connections.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Slab<Connection> = Slab::new();
    let mut answer = Answer::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        answer.refresh();
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                accept(listener, &poll, &mut connections)?;
                continue;
            }
            let slot = usize::try_from(token).map_err(io::Error::other)?;
            let Some(connection) = connections.get_mut(slot) else { continue };
            if connection.ready(event.flags, &answer, &mut buffer) == Next::Close {
                connections.remove(slot);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &impl std::os::fd::AsFd,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let entry = connections.vacant_entry();
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(poll, &socket, EventData::new_u64(entry.key() as u64), wanted)?;
        let stream = TcpStream::from(socket);
        entry.insert(Connection { stream, input: Input::default(), output: Vec::new() });
    }
}

impl Connection {
    fn ready(&mut self, flags: EventFlags, answer: &Answer, buffer: &mut [u8]) -> Next {
        if flags.contains(EventFlags::OUT) && self.flush() == Next::Close {
            return Next::Close;
        }
        if !flags.intersects(EventFlags::IN | END) {
            return Next::Wait;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Next::Close,
                Ok(read) => read,
                Err(error) => return waits(&error),
            };
            let taken = self.input.take(&buffer[..read], answer, &mut self.output);
            if taken.is_err() || self.flush() == Next::Close {
                return Next::Close;
            }
            // A short read has emptied the socket, and what comes later is another edge; but the
            // edge of the end may have been this one.
            if read < buffer.len() && !flags.intersects(END) {
                return Next::Wait;
            }
        }
    }

    /// Sends what can be sent now; the kernel says when the rest can.
    fn flush(&mut self) -> Next {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) if sent == self.output.len() => self.output.clear(),
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) => return waits(&error),
            }
        }
        Next::Wait
    }
}

fn waits(error: &io::Error) -> Next {
    match error.kind() {
        io::ErrorKind::WouldBlock => Next::Wait,
        _ => Next::Close,
    }
}
