//! The descriptors of one life's sockets, for others to shut down.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{Shutdown, shutdown};

use crate::stats::Apart;

/// No socket has this key.
const NONE: RawFd = -1;

/// Knows the sockets of one executor's life. The thread of a life may be stuck for ever, and its
/// ring is nobody else's to use; but its clients can be told, by shutting their connections down.
///
/// A socket is entered when it is accepted or taken, and taken out before its descriptor is closed
/// or goes elsewhere, all under the lock: what is entered is open, and no number is of another
/// file. So the lock is taken a few times per connection, and never per request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Apart<Mutex<Entries>>>);

#[derive(Debug, Default)]
struct Entries {
    /// By the key of the socket.
    sockets: Vec<RawFd>,
    /// Accepted, and nobody has asked for them yet.
    accepted: Vec<RawFd>,
}

impl Registry {
    /// The socket with this key is open from now on.
    pub(super) fn enter(&self, key: u32, socket: &OwnedFd) {
        let sockets = &mut self.lock().sockets;
        let index = key as usize;
        if sockets.len() <= index {
            sockets.resize(index + 1, NONE);
        }
        sockets[index] = socket.as_raw_fd();
    }

    /// The kernel has accepted a connection.
    pub(super) fn accepted(&self, socket: &OwnedFd) {
        self.lock().accepted.push(socket.as_raw_fd());
    }

    /// Somebody asks for an accepted connection, or it is about to be closed.
    pub(super) fn claimed(&self, socket: &OwnedFd) {
        let accepted = &mut self.lock().accepted;
        if let Some(at) = accepted.iter().position(|entry| *entry == socket.as_raw_fd()) {
            accepted.swap_remove(at);
        }
    }

    /// The socket with this key is about to be closed, or to go elsewhere.
    pub(super) fn leave(&self, key: u32) {
        if let Some(entry) = self.lock().sockets.get_mut(key as usize) {
            *entry = NONE;
        }
    }

    /// All sockets are about to be closed.
    pub(super) fn clear(&self) {
        *self.lock() = Entries::default();
    }

    /// Shuts every connection of the life down, in both directions, from any thread; returns how
    /// many. The descriptors stay with the life.
    pub(crate) fn shut_down_all(&self) -> usize {
        let entries = self.lock();
        let open = entries.sockets.iter().chain(&entries.accepted).filter(|entry| **entry != NONE);
        open.map(|entry| {
            // SAFETY: what is entered is open until it is taken out, which waits for the lock.
            let socket = unsafe { BorrowedFd::borrow_raw(*entry) };
            // Fails where the other end has gone already.
            let _gone = shutdown(socket, Shutdown::Both);
        })
        .count()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The entries are whole after each step, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
