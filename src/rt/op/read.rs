//! A file read.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring::opcode;
use io_uring::types::Fd;

use super::socket::key_of;
use super::{Token, wait};
use crate::rt::core::Core;
use crate::rt::ring::Completion;

/// Names a read that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadKey(u32);

/// See the [module](self).
pub(in crate::rt) struct Read {
    /// Kept open until the kernel is done.
    _file: Rc<OwnedFd>,
    buffer: Vec<u8>,
    outcome: Option<i32>,
    waiter: Option<Waker>,
    held: bool,
}

impl Core {
    /// Starts to read at `offset` into all of `buffer`, whose present content is lost.
    pub(crate) fn read(
        &mut self,
        file: Rc<OwnedFd>,
        mut buffer: Vec<u8>,
        offset: u64,
    ) -> io::Result<ReadKey> {
        self.alive()?;
        let fd = Fd(file.as_raw_fd());
        let pointer = buffer.as_mut_ptr();
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let read = Read { _file: file, buffer, outcome: None, waiter: None, held: true };
        let key = key_of(self.reads.insert(read));
        let entry = opcode::Read::new(fd, pointer, length).offset(offset).build();
        // SAFETY: the buffer is on the heap and belongs to the entry of `reads`, which neither
        // touches nor frees it before the completion; so does the descriptor.
        if let Err(error) = unsafe { self.push(entry, Token::Read(key)) } {
            self.reads.remove(key as usize);
            return Err(error);
        }
        Ok(ReadKey(key))
    }

    /// The completion of a read.
    pub(in crate::rt) fn read_done(&mut self, key: u32, completion: Completion) {
        let read = &mut self.reads[key as usize];
        if read.held {
            read.outcome = Some(completion.result);
            self.woken.extend(read.waiter.take());
        } else {
            let orphan = self.reads.remove(key as usize);
            self.quarantine.take(orphan.buffer);
        }
    }

    /// Waits for a read; the buffer holds exactly what was read, nothing at the end of the file.
    pub(crate) fn poll_read(
        &mut self,
        key: ReadKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
        let read = &mut self.reads[key.0 as usize];
        let Some(outcome) = read.outcome else {
            wait(&mut read.waiter, cx, &mut self.garbage.wakers);
            return Poll::Pending;
        };
        let mut buffer = self.reads.remove(key.0 as usize).buffer;
        Poll::Ready(match usize::try_from(outcome) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(buffer)
            }
            Err(_) => Err(io::Error::from_raw_os_error(-outcome)),
        })
    }

    /// Nobody waits for the read any more: it is cancelled, and its memory stays until it ends.
    pub(crate) fn forget_read(&mut self, key: ReadKey) {
        let Some(read) = self.reads.get_mut(key.0 as usize) else { return };
        read.held = false;
        self.garbage.wakers.extend(read.waiter.take());
        if read.outcome.is_some() {
            self.reads.remove(key.0 as usize);
        } else {
            self.cancel(Token::Read(key.0));
        }
    }
}
