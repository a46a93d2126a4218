//! A connected socket: its descriptor, its receive, and what has arrived.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{opcode, types};

use super::fill::Lent;
use super::off::SentOff;
use super::{Token, wait};
use crate::rt::block::{self, BLOCK_BYTES, WORTH_KEEPING};
use crate::rt::core::Core;
use crate::rt::deadline;
use crate::rt::ring::{Buffers, Completion};
use crate::sys::pages::{Pages, Taken};

/// A socket that nobody reads, and that has so many bytes to be read, receives no more of them
/// until somebody does.
const INPUT_MAX: usize = 64 * 1024;

/// Names a socket of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketKey(pub(in crate::rt) u32);

impl SocketKey {
    /// Names none, for a handle whose socket has been released.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    Idle,
    Armed,
    /// Until somebody reads again.
    Cancelling,
    /// Until somebody says how it goes on: otherwise, or elsewhere.
    Stopping,
    /// Once, into memory of the reader's.
    Filling,
}

/// How a receive takes its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// Again and again, into small buffers.
    Small,
    /// Once, into a large one: of a socket that has received in bulk, and may do so again. It is
    /// left to the reader where the rest goes.
    Large,
    /// Once, into a bulk one: of a socket that has filled a large one.
    Bulk,
}

impl Portion {
    /// How the next receive takes its bytes after this one, which took so many; and whether they
    /// are worth their buffer. A small one is never kept, and a bulk one only for more than a
    /// large one holds: who keeps a body must not keep many times its memory.
    fn weigh(self, len: usize) -> (Self, bool) {
        match self {
            Self::Small => (Self::Small, false),
            Self::Large if len == BLOCK_BYTES => (Self::Bulk, true),
            Self::Large => (Self::Large, len >= WORTH_KEEPING),
            Self::Bulk if len >= BLOCK_BYTES => (Self::Bulk, true),
            Self::Bulk => (Self::Large, false),
        }
    }
}

/// See the [module](self). It goes when its handle is dropped and the kernel has let go of it.
pub(in crate::rt) struct Socket {
    fd: OwnedFd,
    pub(super) input: Vec<u8>,
    /// While it is filling, and after that until somebody looks.
    pub(super) lent: Option<Box<Lent>>,
    /// Who waits to receive.
    pub reader: Option<Waker>,
    /// Operations that the kernel has not finished: the receive, and sends.
    pub in_flight: u32,
    pub deadline: u32,
    pub(super) error: i32,
    pub(super) sent_off: SentOff,
    pub(super) receive: Receive,
    eof: bool,
    pub(super) held: bool,
    pub expired: bool,
    /// How the receive takes its bytes that is under way, or was last.
    portion: Portion,
    /// And the next one.
    pub(super) next: Portion,
}

impl Socket {
    /// The descriptor, as operations name it.
    pub(in crate::rt) fn fd(&self) -> Fd {
        Fd(self.fd.as_raw_fd())
    }

    /// What the reader finds: bytes or the end, an error, or that it has waited for too long.
    pub(super) fn state(&mut self) -> Option<io::Result<()>> {
        if !self.input.is_empty() || self.eof {
            return Some(Ok(()));
        }
        if self.error != 0 {
            return Some(Err(io::Error::from_raw_os_error(self.error)));
        }
        std::mem::take(&mut self.expired).then(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// It has failed; returns who is to be told.
    pub(super) fn fail(&mut self, errno: i32) -> Option<Waker> {
        if self.error == 0 {
            self.error = errno;
        }
        self.reader.take()
    }

    /// Whether there is something for the reader: bytes, the end, an error.
    fn is_settled(&self) -> bool {
        !self.input.is_empty() || self.eof || self.error != 0
    }
}

impl Core {
    /// Takes a connected socket and starts to receive.
    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> io::Result<SocketKey> {
        self.alive()?;
        let socket = Socket {
            fd,
            input: Vec::new(),
            lent: None,
            reader: None,
            in_flight: 0,
            deadline: deadline::NONE,
            error: 0,
            sent_off: SentOff::Nothing,
            receive: Receive::Idle,
            eof: false,
            held: true,
            expired: false,
            portion: Portion::Small,
            next: Portion::Small,
        };
        let key = SocketKey(key_of(self.sockets.insert(socket)));
        self.registry.enter(key.0, &self.sockets[key.0 as usize].fd);
        if let Err(error) = self.receive(key) {
            drop(self.remove_socket(key));
            return Err(error);
        }
        Ok(key)
    }

    fn receive(&mut self, key: SocketKey) -> io::Result<()> {
        let socket = &mut self.sockets[key.0 as usize];
        socket.portion = std::mem::replace(&mut socket.next, Portion::Small);
        let entry = match socket.portion {
            Portion::Small => opcode::RecvMulti::new(socket.fd(), self.small.group()).build(),
            Portion::Large => receive_once(socket.fd(), &self.large),
            Portion::Bulk => receive_once(socket.fd(), &self.bulk),
        };
        // SAFETY: receives into the ring's own buffers.
        unsafe { self.begin_receive(key, &entry, Receive::Armed) }
    }

    /// Submits the one receive of a socket.
    ///
    /// # Safety
    /// The memory that it receives into is there until its last completion.
    pub(super) unsafe fn begin_receive(
        &mut self,
        key: SocketKey,
        entry: &Entry,
        receive: Receive,
    ) -> io::Result<()> {
        // SAFETY: the caller vouches for the memory; the descriptor is closed after the last
        // completion, which is counted below.
        unsafe { self.push(entry.clone(), Token::Socket(key.0))? };
        let socket = &mut self.sockets[key.0 as usize];
        socket.receive = receive;
        socket.in_flight += 1;
        Ok(())
    }

    /// Waits until there is something to take: bytes, the end, an error.
    pub(crate) fn poll_readable(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut self.sockets[key.0 as usize];
        socket.keep_lent();
        if let Some(state) = socket.state() {
            return Poll::Ready(state);
        }
        wait(&mut socket.reader, cx, &mut self.garbage.wakers);
        if socket.receive == Receive::Idle {
            self.alive()?;
            self.receive(key)?;
        }
        Poll::Pending
    }

    /// Whether the connection has failed: ready with the error, pending otherwise. Bytes and the
    /// end, which may be that of one direction only, stay where they are.
    pub(crate) fn poll_failure(&mut self, key: SocketKey, cx: &mut Context<'_>) -> Poll<io::Error> {
        let socket = &mut self.sockets[key.0 as usize];
        socket.keep_lent();
        if socket.error != 0 {
            return Poll::Ready(io::Error::from_raw_os_error(socket.error));
        }
        wait(&mut socket.reader, cx, &mut self.garbage.wakers);
        // A receive that a shortage of buffers has ended would not tell of a failure.
        let listens = socket.receive != Receive::Idle;
        if !listens && !socket.eof && socket.input.len() < INPUT_MAX && !self.ended {
            self.receive_again(key);
        }
        Poll::Pending
    }

    /// Takes what has arrived, behind what `into` holds already; 0 at the end.
    pub(crate) fn poll_receive(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_readable(key, cx))?;
        let mut input = std::mem::take(&mut self.sockets[key.0 as usize].input);
        let received = input.len();
        if into.is_empty() {
            std::mem::swap(into, &mut input);
        } else {
            into.extend_from_slice(&input);
        }
        self.recycle(input);
        Poll::Ready(Ok(received))
    }

    /// A completion of the receive.
    pub(in crate::rt) fn received(&mut self, key: u32, completion: Completion) {
        self.take_bytes(key, completion);
        let socket = &mut self.sockets[key as usize];
        if !completion.more() {
            if matches!(socket.receive, Receive::Stopping | Receive::Filling) {
                self.woken.extend(socket.reader.take());
            }
            socket.receive = Receive::Idle;
            socket.in_flight -= 1;
        }
        match completion.errno() {
            None => socket.eof |= completion.result == 0,
            Some(libc::ENOBUFS) => {
                self.stats.shortages.increment();
                match socket.portion {
                    Portion::Small => self.small.grow(),
                    Portion::Large => self.large.grow(),
                    Portion::Bulk => self.bulk.grow(),
                }
            }
            // Cancelled by us, or interrupted: the next reader starts it again.
            Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            Some(errno) => socket.error = errno,
        }
        self.after_receive(key);
    }

    fn take_bytes(&mut self, key: u32, completion: Completion) {
        let socket = &mut self.sockets[key as usize];
        let len = completion.result.max(0).unsigned_abs() as usize;
        if let Some(lent) = socket.lent.as_mut().filter(|_| socket.receive == Receive::Filling) {
            return lent.filled(len);
        }
        let Some(buffer) = completion.buffer() else { return };
        let buffers = match socket.portion {
            Portion::Small => &mut self.small,
            Portion::Large => &mut self.large,
            Portion::Bulk => &mut self.bulk,
        };
        if !socket.held || len == 0 {
            return buffers.give_back(buffer);
        }
        let (next, worth_keeping) = socket.portion.weigh(len);
        if worth_keeping && socket.input.is_empty() {
            let block = buffers.take(buffer, len);
            let emptied = std::mem::replace(&mut socket.input, block);
            socket.next = next;
            return self.recycle(emptied);
        }
        if socket.input.capacity() == 0 {
            socket.input = match len {
                WORTH_KEEPING.. => block::get(BLOCK_BYTES),
                _ => self.spare.pop().unwrap_or_default(),
            };
        }
        socket.input.extend_from_slice(buffers.bytes(buffer, len));
        if socket.input.len() >= WORTH_KEEPING {
            socket.next = Portion::Large;
        }
        buffers.give_back(buffer);
    }

    fn after_receive(&mut self, key: u32) {
        let socket = &mut self.sockets[key as usize];
        if !socket.held {
            self.release_if_over(SocketKey(key));
            return;
        }
        if socket.is_settled() {
            self.woken.extend(socket.reader.take());
        }
        let bulk = socket.input.len() >= WORTH_KEEPING;
        match socket.receive {
            Receive::Armed if bulk => {
                socket.receive = Receive::Cancelling;
                self.cancel(Token::Socket(key));
            }
            Receive::Idle if socket.reader.is_some() && !self.ended => {
                self.receive_again(SocketKey(key));
            }
            _ => {}
        }
    }

    fn receive_again(&mut self, key: SocketKey) {
        if self.receive(key).is_err() {
            let socket = &mut self.sockets[key.0 as usize];
            socket.error = libc::EIO;
            self.woken.extend(socket.reader.take());
        }
    }

    /// A deadline of the socket has passed.
    pub(in crate::rt) fn socket_expired(&mut self, key: u32) {
        let socket = &mut self.sockets[key as usize];
        socket.deadline = deadline::NONE;
        socket.expired = true;
        self.woken.extend(socket.reader.take());
    }

    /// Arms the deadline of the socket's reader anew.
    pub(crate) fn arm(&mut self, key: SocketKey, kind: deadline::Kind) {
        let now = self.clock.millis();
        let socket = &mut self.sockets[key.0 as usize];
        socket.expired = false;
        self.deadlines.arm(&mut socket.deadline, kind, Token::Socket(key.0).pack(), now);
    }

    /// Disarms it.
    pub(crate) fn disarm(&mut self, key: SocketKey) {
        let socket = &mut self.sockets[key.0 as usize];
        socket.expired = false;
        self.deadlines.disarm(&mut socket.deadline);
    }

    /// Has the socket take `head` and `pages` at once, as far as it has room for them. Nothing may
    /// be on its way to it.
    pub(crate) fn send_pages(
        &self,
        key: SocketKey,
        head: &[u8],
        pages: &mut Pages,
    ) -> io::Result<Taken> {
        self.alive()?;
        pages.send(self.sockets[key.0 as usize].fd.as_fd(), head)
    }

    /// Who is at the other end; `None` for a Unix socket.
    pub(crate) fn peer_addr(&self, key: SocketKey) -> io::Result<Option<SocketAddr>> {
        let address = rustix::net::getpeername(&self.sockets[key.0 as usize].fd)?;
        Ok(address.and_then(|address| SocketAddr::try_from(address).ok()))
    }

    /// The user that the other end of a Unix socket ran as when it connected.
    pub(crate) fn peer_uid(&self, key: SocketKey) -> io::Result<u32> {
        let peer = rustix::net::sockopt::socket_peercred(&self.sockets[key.0 as usize].fd)?;
        Ok(peer.uid.as_raw())
    }

    /// Has the socket's close reset the connection: the other end is told at once that nothing more
    /// will be read or sent, and no port lingers in `TIME_WAIT`.
    pub(crate) fn reset_at_close(&self, key: SocketKey) -> io::Result<()> {
        let fd = &self.sockets[key.0 as usize].fd;
        Ok(rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
    }

    /// Ends the sending side.
    pub(crate) fn shutdown(&self, key: SocketKey) -> io::Result<()> {
        let fd = &self.sockets[key.0 as usize].fd;
        Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Write)?)
    }

    /// Takes an idle socket out of the tables, so that it can be served elsewhere: cancels its
    /// receive and waits until the kernel has let go of it. `None` if it is not idle, or something
    /// has arrived meanwhile: then it is as it was, and receives again at the next wait. What has
    /// not been received yet goes with the descriptor.
    pub(crate) fn poll_release(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<Option<OwnedFd>> {
        let Some(socket) = self.sockets.get_mut(key.0 as usize) else { return Poll::Ready(None) };
        let busy = socket.is_settled() || socket.expired || socket.lent.is_some();
        let sending = socket.in_flight > u32::from(socket.receive != Receive::Idle);
        match socket.receive {
            Receive::Idle if busy || sending => Poll::Ready(None),
            Receive::Idle => Poll::Ready(Some(self.release(key))),
            Receive::Stopping if busy => {
                socket.receive = Receive::Cancelling;
                Poll::Ready(None)
            }
            _ if busy || sending => Poll::Ready(None),
            receive => {
                wait(&mut socket.reader, cx, &mut self.garbage.wakers);
                socket.receive = Receive::Stopping;
                if receive == Receive::Armed {
                    self.cancel(Token::Socket(key.0));
                }
                Poll::Pending
            }
        }
    }

    fn release(&mut self, key: SocketKey) -> OwnedFd {
        let mut socket = self.remove_socket(key);
        self.deadlines.disarm(&mut socket.deadline);
        self.garbage.wakers.extend(socket.reader.take());
        self.recycle(socket.input);
        socket.fd
    }

    /// The handle is gone: what is in flight is cancelled, and then the descriptor is closed.
    pub(crate) fn abandon(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get_mut(key.0 as usize) else { return };
        socket.held = false;
        self.garbage.wakers.extend(socket.reader.take());
        let input = std::mem::take(&mut socket.input);
        self.deadlines.disarm(&mut socket.deadline);
        if socket.in_flight > 0 {
            let cancel = types::CancelBuilder::fd(socket.fd()).all();
            // SAFETY: a cancellation points to no memory; the descriptor stays open until the
            // operations that it cancels have completed.
            let pushed =
                unsafe { self.push(opcode::AsyncCancel2::new(cancel).build(), Token::Unobserved) };
            if pushed.is_err() {
                tracing::error!("no cancellation could be submitted; the socket stays open");
            }
        }
        self.recycle(input);
        self.release_if_over(key);
    }

    /// Takes a socket out of the tables, before it is closed or goes elsewhere.
    fn remove_socket(&mut self, key: SocketKey) -> Socket {
        self.registry.leave(key.0);
        self.sockets.remove(key.0 as usize)
    }

    /// Removes an abandoned socket once the kernel has let go of it.
    pub(in crate::rt) fn release_if_over(&mut self, key: SocketKey) {
        let socket = &self.sockets[key.0 as usize];
        if socket.held || socket.in_flight > 0 {
            return;
        }
        let mut socket = self.remove_socket(key);
        if let Some(lent) = socket.lent.take() {
            self.quarantine.take(lent.memory);
        }
        if self.ended {
            return;
        }
        let fd = socket.fd.into_raw_fd();
        // SAFETY: points to no memory; the descriptor is nobody's any more.
        let pushed = unsafe { self.push(opcode::Close::new(Fd(fd)).build(), Token::Unobserved) };
        if pushed.is_err() {
            // SAFETY: as above: the only owner of the descriptor.
            drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        }
    }
}

/// Receives once, as much as one of these buffers holds.
fn receive_once(fd: Fd, buffers: &Buffers) -> Entry {
    let once = opcode::Recv::new(fd, std::ptr::null_mut(), 0);
    once.buf_group(buffers.group()).build().flags(Flags::BUFFER_SELECT)
}

/// A table's index as a key.
pub(super) fn key_of(index: usize) -> u32 {
    u32::try_from(index).expect("invariant: fewer entries than descriptors")
}

#[cfg(test)]
impl Core {
    /// How many bytes wait to be read, of all sockets.
    pub(crate) fn input_len(&self) -> usize {
        self.sockets.iter().map(|(_, socket)| socket.input.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fills_its_buffers_gets_longer_ones_and_none_is_kept_for_little() {
        for (portion, len, weighed) in [
            (Portion::Small, 8192, (Portion::Small, false)),
            (Portion::Large, WORTH_KEEPING - 1, (Portion::Large, false)),
            (Portion::Large, WORTH_KEEPING, (Portion::Large, true)),
            (Portion::Large, BLOCK_BYTES, (Portion::Bulk, true)),
            (Portion::Bulk, BLOCK_BYTES - 1, (Portion::Large, false)),
            (Portion::Bulk, BLOCK_BYTES, (Portion::Bulk, true)),
        ] {
            assert_eq!(portion.weigh(len), weighed, "{portion:?} with {len} bytes");
        }
    }
}
