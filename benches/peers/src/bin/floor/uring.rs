//! The bare `io_uring` loop: multishot accept, multishot recv into provided buffers, and one
//! system call per turn that submits all sends and waits for what comes next.

#![expect(unsafe_code, reason = "the kernel is told addresses; each block says why they hold")]

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::net::Shutdown;
use slab::Slab;

use crate::answer::{Answer, Input};
use crate::buffers::Buffers;

/// Entries of the submission queue, and of the completion queue.
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 2048;

/// An operation, as its completion names it: the kind in the upper half, the slot in the lower.
#[derive(Clone, Copy)]
enum Operation {
    Accept,
    Receive(u32),
    Send(u32),
}

struct Connection {
    socket: OwnedFd,
    input: Input,
    /// Answers that no send has taken yet.
    queued: Vec<u8>,
    /// Answers that the kernel may be reading; empty when it is not.
    sending: Vec<u8>,
    sent: usize,
    receiving: bool,
    closing: bool,
}

struct Loop {
    ring: IoUring,
    buffers: Buffers,
    listener: TcpListener,
    /// Leaked when the loop fails: the kernel may still be reading from `sending`.
    connections: ManuallyDrop<Slab<Connection>>,
    answer: Answer,
}

/// Serves until something fails that concerns all connections.
pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)?;
    let buffers = Buffers::register(&ring)?;
    let connections = ManuallyDrop::new(Slab::new());
    Loop { ring, buffers, listener, connections, answer: Answer::new() }.run()
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        self.accept()?;
        let mut completions = VecDeque::with_capacity(COMPLETIONS as usize);
        loop {
            self.turn()?;
            self.answer.refresh();
            completions.extend(self.ring.completion());
            while let Some(completion) = completions.pop_front() {
                self.complete(&completion)?;
            }
        }
    }

    /// Submits what is queued, lets the kernel work and waits for a completion.
    ///
    /// A send mostly completes while it is submitted, so a lone request takes two turns. To wait
    /// for one completion more would spare the second, but leave a short send without its rest.
    fn turn(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            // Busy: completions must be taken first, and that comes next.
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn complete(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (result, flags) = (completion.result(), completion.flags());
        match Operation::decode(completion.user_data()) {
            Operation::Accept => self.accepted(result, flags),
            Operation::Receive(slot) => self.received(slot, result, flags),
            Operation::Send(slot) => self.sent(slot, result),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the entry holds no address, and the listener lives as long as the ring.
        unsafe { push(&mut self.ring, &entry, Operation::Accept) }
    }

    fn accepted(&mut self, result: i32, flags: u32) -> io::Result<()> {
        if !cqueue::more(flags) {
            self.accept()?;
        }
        if result == -libc::ECONNABORTED {
            return Ok(());
        }
        // SAFETY: the completion of an accept hands over a new descriptor, once.
        let socket = unsafe { OwnedFd::from_raw_fd(checked(result)?) };
        let slot = self.connections.insert(Connection::new(socket));
        self.advance(u32::try_from(slot).map_err(io::Error::other)?)
    }

    fn received(&mut self, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.receiving = cqueue::more(flags);
        if let (Some(id), Ok(length)) = (cqueue::buffer_select(flags), usize::try_from(result)) {
            connection.take(self.buffers.filled(id, length), &self.answer);
            self.buffers.give_back(id);
        }
        // Out of buffers is no end: all are back before the recv that is now armed again.
        if result <= 0 && result != -libc::ENOBUFS {
            connection.closing = true;
        }
        self.advance(slot)
    }

    fn sent(&mut self, slot: u32, result: i32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        match usize::try_from(result) {
            Ok(length) => connection.sent += length,
            Err(_) => connection.abort(),
        }
        if connection.sent >= connection.sending.len() {
            connection.sending.clear();
            connection.sent = 0;
            return self.advance(slot);
        }
        self.send(slot)
    }

    /// Starts whatever a connection can do next, or ends it.
    fn advance(&mut self, slot: u32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        let idle = connection.sending.is_empty();
        if idle && !connection.queued.is_empty() {
            std::mem::swap(&mut connection.queued, &mut connection.sending);
            self.send(slot)?;
        } else if idle && connection.closing && !connection.receiving {
            self.connections.remove(slot as usize);
            return Ok(());
        }
        let connection = &self.connections[slot as usize];
        if connection.receiving || connection.closing { Ok(()) } else { self.receive(slot) }
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.receiving = true;
        let socket = Fd(connection.socket.as_raw_fd());
        let entry = opcode::RecvMulti::new(socket, Buffers::GROUP).build();
        // SAFETY: the kernel writes to provided buffers only, which are never freed; the socket
        // is closed only once this recv has ended.
        unsafe { push(&mut self.ring, &entry, Operation::Receive(slot)) }
    }

    fn send(&mut self, slot: u32) -> io::Result<()> {
        let connection = &self.connections[slot as usize];
        let rest = &connection.sending[connection.sent..];
        let length = u32::try_from(rest.len()).map_err(io::Error::other)?;
        let entry = opcode::Send::new(Fd(connection.socket.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: `sending` is left alone, and its connection kept, until this send completes; a
        // loop that fails leaks both.
        unsafe { push(&mut self.ring, &entry, Operation::Send(slot)) }
    }
}

impl Connection {
    fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            input: Input::default(),
            queued: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            receiving: false,
            closing: false,
        }
    }

    fn take(&mut self, received: &[u8], answer: &Answer) {
        if self.input.take(received, answer, &mut self.queued).is_err() {
            self.abort();
        }
    }

    /// Gives the connection up; its operations complete, and then it is removed.
    fn abort(&mut self) {
        self.closing = true;
        self.queued.clear();
        self.sent = self.sending.len();
        // Ends the armed recv; fails only on a connection that the client has ended already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

impl Operation {
    const RECEIVE: u64 = 1 << 32;
    const SEND: u64 = 2 << 32;

    fn encode(self) -> u64 {
        match self {
            Operation::Accept => 0,
            Operation::Receive(slot) => Self::RECEIVE | u64::from(slot),
            Operation::Send(slot) => Self::SEND | u64::from(slot),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the slot is the lower half")]
    fn decode(token: u64) -> Operation {
        let slot = token as u32;
        match token & !u64::from(u32::MAX) {
            Self::RECEIVE => Operation::Receive(slot),
            Self::SEND => Operation::Send(slot),
            _ => Operation::Accept,
        }
    }
}

/// Queues an entry; a full queue is submitted first.
///
/// # Safety
///
/// What the entry refers to stays valid until it completes.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry, operation: Operation) -> io::Result<()> {
    let entry = entry.clone().user_data(operation.encode());
    // SAFETY: the caller's promise.
    while unsafe { ring.submission().push(&entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

/// The result of an operation as the kernel encodes it: a negative one is an errno.
fn checked(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::from_raw_os_error(-result)),
    }
}
