//! A listening socket and the connections that the kernel has handed over.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};

use io_uring::opcode;
use io_uring::types::Fd;

use super::socket::key_of;
use super::{Token, wait};
use crate::rt::driver::Core;
use crate::rt::ring::Completion;

/// Names a listener of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptKey(u32);

/// What waiting for a connection gave.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection.
    Connection(OwnedFd),
    /// The accept was stopped, and everything that had been accepted has been handed out.
    Stopped,
}

/// See the [module](self).
pub(in crate::rt) struct Accept {
    fd: OwnedFd,
    ready: VecDeque<OwnedFd>,
    error: Option<i32>,
    waiter: Option<Waker>,
    armed: bool,
    stopped: bool,
    held: bool,
}

impl Core {
    /// Takes a listening socket. It accepts once somebody waits.
    pub(crate) fn listen(&mut self, fd: OwnedFd) -> io::Result<AcceptKey> {
        self.alive()?;
        let accept = Accept {
            fd,
            ready: VecDeque::new(),
            error: None,
            waiter: None,
            armed: false,
            stopped: false,
            held: true,
        };
        Ok(AcceptKey(key_of(self.accepts.insert(accept))))
    }

    /// Waits for a connection. An error has ended the accept; the next wait starts it again.
    pub(crate) fn poll_accept(
        &mut self,
        key: AcceptKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Accepted>> {
        let accept = &mut self.accepts[key.0 as usize];
        if let Some(fd) = accept.ready.pop_front() {
            return Poll::Ready(Ok(Accepted::Connection(fd)));
        }
        if let Some(errno) = accept.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if accept.stopped && !accept.armed {
            return Poll::Ready(Ok(Accepted::Stopped));
        }
        wait(&mut accept.waiter, cx, &mut self.garbage.wakers);
        if !accept.armed {
            accept.armed = true;
            let fd = Fd(accept.fd.as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            self.alive()?;
            // SAFETY: no address is asked for; the descriptor is closed after the last completion.
            let pushed = unsafe { self.push(entry, Token::Accept(key.0)) };
            self.accepts[key.0 as usize].armed = pushed.is_ok();
            pushed?;
        }
        Poll::Pending
    }

    /// A completion of the accept.
    pub(in crate::rt) fn accepted(&mut self, key: u32, completion: Completion) {
        let accept = &mut self.accepts[key as usize];
        accept.armed &= completion.more();
        match completion.errno() {
            None => {
                // SAFETY: the kernel has just made this descriptor for us.
                let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
                if accept.held {
                    accept.ready.push_back(fd);
                }
            }
            Some(libc::ECANCELED) => {}
            Some(errno) => accept.error = Some(errno),
        }
        self.woken.extend(accept.waiter.take());
        if !accept.held && !accept.armed {
            self.accepts.remove(key as usize);
        }
    }

    /// Accepts no more. Connections that the kernel had already handed over are still given out.
    pub(crate) fn stop_accepting(&mut self, key: AcceptKey) {
        let accept = &mut self.accepts[key.0 as usize];
        if !std::mem::replace(&mut accept.stopped, true) && accept.armed {
            self.cancel(Token::Accept(key.0));
        }
        let accept = &mut self.accepts[key.0 as usize];
        self.woken.extend(accept.waiter.take());
    }

    /// The handle is gone: the accept is cancelled and the descriptor closed.
    pub(crate) fn abandon_listener(&mut self, key: AcceptKey) {
        let Some(accept) = self.accepts.get_mut(key.0 as usize) else { return };
        accept.held = false;
        self.garbage.wakers.extend(accept.waiter.take());
        accept.ready.clear();
        if accept.armed {
            self.cancel(Token::Accept(key.0));
        } else {
            self.accepts.remove(key.0 as usize);
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
