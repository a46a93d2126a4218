//! Receiving straight into memory that a reader lends.

use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;

use super::socket::{Portion, Receive, Socket};
use super::{SocketKey, Token, wait};
use crate::rt::core::Core;

/// Memory that a reader has lent, for the next bytes to be received into it.
pub(super) struct Lent {
    pub memory: Vec<u8>,
    /// How much of it was in use before.
    before: usize,
}

impl Lent {
    /// The kernel has written so many bytes.
    pub(super) fn filled(&mut self, len: usize) {
        assert!(len <= self.memory.capacity() - self.before, "invariant: no more than there is");
        // SAFETY: in bounds by the assertion, and the kernel wrote `len` bytes.
        unsafe { self.memory.set_len(self.before + len) };
    }
}

impl Socket {
    /// Keeps what has been received into lent memory that its owner does not ask for any more.
    pub(super) fn keep_lent(&mut self) {
        if let Some(mut lent) = self.lent.take_if(|_| self.receive != Receive::Filling) {
            debug_assert!(self.input.is_empty(), "nothing is received beside it");
            self.input = lent.memory.split_off(lent.before);
        }
    }

    /// Gives up lent memory that the kernel may still write into.
    pub(in crate::rt) fn leak_lent(&mut self) {
        std::mem::forget(self.lent.take());
    }
}

impl Core {
    /// Receives at most so many bytes straight into `into`, behind what it holds; 0 at the end.
    /// Meanwhile `into` is lent to the socket. What arrives when nobody asks any more is there for
    /// the next who receives.
    pub(crate) fn poll_fill(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = &mut self.sockets[key.0 as usize];
        socket.next = Portion::Large;
        if let Some(lent) = socket.lent.take_if(|_| socket.receive != Receive::Filling) {
            *into = lent.memory;
            if into.len() > lent.before {
                return Poll::Ready(Ok(into.len() - lent.before));
            }
        }
        if let Some(state) = socket.state() {
            state?;
            let taken = socket.input.len().min(most);
            into.extend_from_slice(&socket.input[..taken]);
            socket.input.drain(..taken);
            if socket.input.is_empty() {
                let emptied = std::mem::take(&mut socket.input);
                self.recycle(emptied);
            }
            return Poll::Ready(Ok(taken));
        }
        wait(&mut socket.reader, cx, &mut self.garbage.wakers);
        match socket.receive {
            Receive::Idle => {
                self.alive()?;
                self.fill(key, std::mem::take(into), most)?;
            }
            Receive::Armed => {
                socket.receive = Receive::Stopping;
                self.cancel(Token::Socket(key.0));
            }
            Receive::Cancelling => socket.receive = Receive::Stopping,
            Receive::Stopping | Receive::Filling => {}
        }
        Poll::Pending
    }

    fn fill(&mut self, key: SocketKey, mut memory: Vec<u8>, most: usize) -> io::Result<()> {
        memory.reserve(most);
        let before = memory.len();
        let start = memory.spare_capacity_mut().as_mut_ptr().cast();
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let socket = &mut self.sockets[key.0 as usize];
        let entry = opcode::Recv::new(socket.fd(), start, most).build();
        socket.lent = Some(Box::new(Lent { memory, before }));
        // SAFETY: the memory is on the heap, has room for `most` bytes, and belongs to the socket,
        // which neither changes nor frees it before the completion.
        unsafe { self.begin_receive(key, &entry, Receive::Filling) }
    }
}
