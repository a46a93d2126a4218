//! A listening socket and the connections that the kernel has handed over.
//!
//! There are two ways to wait. A multishot accept hands connections over without a system call. But
//! its wait is exclusive: armed by a thread that is stuck it eats the wake-ups of everybody else
//! on that socket. A multishot poll is always woken, and then accepts by system calls of its own.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::socket::key_of;
use super::{Token, wait};
use crate::rt::core::Core;
use crate::rt::ring::Completion;

/// How many connections a watcher accepts in a row before the other tasks have their turn.
const ACCEPTS_MAX: u32 = 32;

/// Names a listener of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptKey(u32);

/// How to wait for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// By a multishot accept: the cheapest, as long as all who share the socket are well.
    Accept,
    /// By a poll, beside somebody who may be stuck with an armed accept.
    Watch,
}

/// What waiting for a connection gave.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection.
    Connection(OwnedFd),
    /// There may be more, but others have their turn first: ask again after yielding.
    Later,
    /// The accept was stopped, and everything that had been accepted has been handed out.
    Stopped,
}

/// What the kernel has of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    Nothing,
    Waiting(Arming),
    Cancelling(Arming),
}

/// See the [module](self).
pub(in crate::rt) struct Accept {
    fd: OwnedFd,
    ready: VecDeque<OwnedFd>,
    error: Option<i32>,
    waiter: Option<Waker>,
    /// How to arm next.
    arming: Arming,
    armed: Armed,
    /// A poll has said that the kernel's queue holds something, and no accept has found it empty.
    readable: bool,
    /// How many may still be accepted in a row.
    turn: u32,
    stopped: bool,
    held: bool,
}

impl Accept {
    /// The next connection of the kernel's queue, which a poll says is there.
    fn take(&mut self) -> Option<io::Result<Accepted>> {
        if !self.readable || self.stopped {
            return None;
        }
        if self.turn == 0 {
            self.turn = ACCEPTS_MAX;
            return Some(Ok(Accepted::Later));
        }
        self.turn -= 1;
        match accept_with(&self.fd, SocketFlags::CLOEXEC) {
            Ok(fd) => Some(Ok(Accepted::Connection(fd))),
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.turn = ACCEPTS_MAX;
                None
            }
            // What waits there is not announced again: the next call tries it.
            Err(errno) => Some(Err(errno.into())),
        }
    }

    fn operation(&self) -> io::Result<Entry> {
        let fd = Fd(self.fd.as_raw_fd());
        Ok(match self.arming {
            Arming::Accept => opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(),
            Arming::Watch => {
                // An accept of ours must never block the core. All duplicates share this.
                rustix::io::ioctl_fionbio(&self.fd, true)?;
                let readable = u32::from(libc::POLLIN.unsigned_abs());
                opcode::PollAdd::new(fd, readable).multi(true).build()
            }
        })
    }
}

impl Core {
    /// Takes a listening socket. It accepts once somebody waits.
    pub(crate) fn listen(&mut self, fd: OwnedFd, arming: Arming) -> io::Result<AcceptKey> {
        self.alive()?;
        let accept = Accept {
            fd,
            ready: VecDeque::new(),
            error: None,
            waiter: None,
            arming,
            armed: Armed::Nothing,
            readable: false,
            turn: ACCEPTS_MAX,
            stopped: false,
            held: true,
        };
        Ok(AcceptKey(key_of(self.accepts.insert(accept))))
    }

    /// Waits for a connection. An error may have ended the accept; the next wait starts it again.
    pub(crate) fn poll_accept(
        &mut self,
        key: AcceptKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Accepted>> {
        let accept = &mut self.accepts[key.0 as usize];
        if let Some(fd) = accept.ready.pop_front() {
            self.registry.claimed(&fd);
            return Poll::Ready(Ok(Accepted::Connection(fd)));
        }
        if let Some(errno) = accept.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if accept.stopped && accept.armed == Armed::Nothing {
            return Poll::Ready(Ok(Accepted::Stopped));
        }
        if let Some(taken) = accept.take() {
            return Poll::Ready(taken);
        }
        wait(&mut accept.waiter, cx, &mut self.garbage.wakers);
        if accept.armed == Armed::Nothing {
            self.arm_accept(key)?;
        }
        Poll::Pending
    }

    /// Either way of arming looks at the kernel's queue first: what is there is handed over.
    fn arm_accept(&mut self, key: AcceptKey) -> io::Result<()> {
        self.alive()?;
        let accept = &mut self.accepts[key.0 as usize];
        let entry = accept.operation()?;
        let armed = Armed::Waiting(accept.arming);
        // SAFETY: no address is asked for; the descriptor is closed after the last completion.
        unsafe { self.push(entry, Token::Accept(key.0))? };
        self.accepts[key.0 as usize].armed = armed;
        Ok(())
    }

    /// A completion of the accept or the poll.
    pub(in crate::rt) fn accepted(&mut self, key: u32, completion: Completion) {
        let accept = &mut self.accepts[key as usize];
        let (Armed::Waiting(arming) | Armed::Cancelling(arming)) = accept.armed else {
            unreachable!("invariant: an operation completes before the next is armed")
        };
        match (completion.errno(), arming) {
            (None, Arming::Accept) => {
                // SAFETY: the kernel has just made this descriptor for us.
                let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
                if accept.held {
                    self.registry.accepted(&fd);
                    accept.ready.push_back(fd);
                }
            }
            (None, Arming::Watch) => accept.readable = accept.arming == Arming::Watch,
            (Some(libc::ECANCELED), _) => {}
            (Some(errno), _) => accept.error = Some(errno),
        }
        if !completion.more() {
            accept.armed = Armed::Nothing;
        }
        self.woken.extend(accept.waiter.take());
        if !accept.held && accept.armed == Armed::Nothing {
            self.accepts.remove(key as usize);
        }
    }

    /// Cancels what is armed and arms anew, now in this way. Connections that the kernel had handed
    /// over are still given out.
    pub(crate) fn rearm_accept(&mut self, key: AcceptKey, arming: Arming) {
        let accept = &mut self.accepts[key.0 as usize];
        accept.arming = arming;
        // A poll that is armed anew says again what it has said.
        accept.readable = false;
        self.cancel_accept(key);
    }

    fn cancel_accept(&mut self, key: AcceptKey) {
        let accept = &mut self.accepts[key.0 as usize];
        if let Armed::Waiting(arming) = accept.armed {
            accept.armed = Armed::Cancelling(arming);
            self.cancel(Token::Accept(key.0));
        }
    }

    /// Accepts no more. Connections that the kernel had already handed over are still given out.
    pub(crate) fn stop_accepting(&mut self, key: AcceptKey) {
        self.accepts[key.0 as usize].stopped = true;
        self.cancel_accept(key);
        let accept = &mut self.accepts[key.0 as usize];
        self.woken.extend(accept.waiter.take());
    }

    /// The next connection of the kernel's queue, at once, whether the accept is stopped or not.
    pub(crate) fn accept_queued(&mut self, key: AcceptKey) -> io::Result<Option<OwnedFd>> {
        let accept = &self.accepts[key.0 as usize];
        // An accept of ours must never block the core. All duplicates share this.
        rustix::io::ioctl_fionbio(&accept.fd, true)?;
        match accept_with(&accept.fd, SocketFlags::CLOEXEC) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The handle is gone: the accept is cancelled and the descriptor closed.
    pub(crate) fn abandon_listener(&mut self, key: AcceptKey) {
        let Some(accept) = self.accepts.get_mut(key.0 as usize) else { return };
        accept.held = false;
        self.garbage.wakers.extend(accept.waiter.take());
        for fd in accept.ready.drain(..) {
            self.registry.claimed(&fd);
        }
        if accept.armed == Armed::Nothing {
            self.accepts.remove(key.0 as usize);
        } else {
            self.cancel_accept(key);
        }
    }
}

#[cfg(test)]
impl Core {
    /// How many accepted connections nobody has asked for yet.
    pub(crate) fn accepted_waiting(&self) -> usize {
        self.accepts.iter().map(|(_, accept)| accept.ready.len()).sum()
    }
}
