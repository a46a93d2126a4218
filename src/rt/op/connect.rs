//! A connection that is being made.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockAddr;

use super::socket::key_of;
use super::{Token, wait};
use crate::rt::core::Core;
use crate::rt::deadline;
use crate::rt::ring::Completion;

/// Names a connection that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectKey(u32);

/// See the [module](self).
pub(in crate::rt) struct Connect {
    socket: OwnedFd,
    /// Whom to connect to. It stays where it is for as long as the kernel may read it.
    address: Box<SockAddr>,
    outcome: Option<Result<(), i32>>,
    waiter: Option<Waker>,
    deadline: u32,
    expired: bool,
    held: bool,
}

impl Core {
    /// Starts to connect a socket to `address`; `within` is how long that may take.
    pub(crate) fn connect(
        &mut self,
        socket: OwnedFd,
        address: SockAddr,
        within: deadline::Kind,
    ) -> io::Result<ConnectKey> {
        self.alive()?;
        let connect = Connect {
            socket,
            address: Box::new(address),
            outcome: None,
            waiter: None,
            deadline: deadline::NONE,
            expired: false,
            held: true,
        };
        let key = key_of(self.connects.insert(connect));
        let now = self.clock.millis();
        let connect = &mut self.connects[key as usize];
        self.deadlines.arm(&mut connect.deadline, within, Token::Connect(key).pack(), now);
        if let Err(error) = self.push_connect(key) {
            let mut connect = self.connects.remove(key as usize);
            self.deadlines.disarm(&mut connect.deadline);
            return Err(error);
        }
        Ok(ConnectKey(key))
    }

    fn push_connect(&mut self, key: u32) -> io::Result<()> {
        let connect = &self.connects[key as usize];
        let (fd, address) = (Fd(connect.socket.as_raw_fd()), &connect.address);
        let entry = opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build();
        // SAFETY: the address is boxed and belongs to the entry of `connects`, which neither
        // changes nor frees it before the completion; so does the descriptor.
        unsafe { self.push(entry, Token::Connect(key)) }
    }

    /// The completion of a connect.
    pub(in crate::rt) fn connected(&mut self, key: u32, completion: Completion) {
        let again = matches!(completion.errno(), Some(libc::EINTR | libc::EAGAIN));
        let connect = &mut self.connects[key as usize];
        if !connect.held {
            // Whether it came about or not, nobody wants it.
            self.connects.remove(key as usize);
            return;
        }
        let mut outcome = completion.errno().map_or(Ok(()), Err);
        if again && !connect.expired && !self.ended {
            match self.push_connect(key) {
                Ok(()) => return,
                Err(_) => outcome = Err(libc::EIO),
            }
        }
        let connect = &mut self.connects[key as usize];
        if outcome.is_err() && connect.expired {
            outcome = Err(libc::ETIMEDOUT);
        }
        connect.outcome = Some(outcome);
        self.deadlines.disarm(&mut connect.deadline);
        self.woken.extend(connect.waiter.take());
    }

    /// Waits for the connection; the socket is the caller's then.
    pub(crate) fn poll_connected(
        &mut self,
        key: ConnectKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<OwnedFd>> {
        let Some(connect) = self.connects.get_mut(key.0 as usize) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let Some(outcome) = connect.outcome else {
            wait(&mut connect.waiter, cx, &mut self.garbage.wakers);
            return Poll::Pending;
        };
        let socket = self.connects.remove(key.0 as usize).socket;
        Poll::Ready(outcome.map(|()| socket).map_err(io::Error::from_raw_os_error))
    }

    /// The deadline of a connect has passed: it is cancelled, and ends as timed out.
    pub(in crate::rt) fn connect_expired(&mut self, key: u32) {
        let connect = &mut self.connects[key as usize];
        connect.deadline = deadline::NONE;
        connect.expired = true;
        self.cancel(Token::Connect(key));
    }

    /// Nobody waits for the connection any more: it is cancelled, and its address and its socket
    /// stay until the kernel has let go of them.
    pub(crate) fn forget_connect(&mut self, key: ConnectKey) {
        let Some(connect) = self.connects.get_mut(key.0 as usize) else { return };
        connect.held = false;
        self.garbage.wakers.extend(connect.waiter.take());
        self.deadlines.disarm(&mut connect.deadline);
        if connect.outcome.is_some() {
            self.connects.remove(key.0 as usize);
        } else if !connect.expired {
            self.cancel(Token::Connect(key.0));
        }
    }
}
