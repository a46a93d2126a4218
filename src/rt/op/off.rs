//! Sends that nobody waits for.
//!
//! The socket mostly has room. So such a send is tried as it is submitted and says nothing if the
//! socket takes all of it: no completion is written, read, or mistaken for news by a turn that
//! waits for some. Only if the socket does not is it a [send](super::send) like others.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use io_uring::squeue::Flags;

use super::output::{Output, Pieces};
use super::socket::key_of;
use super::{SocketKey, Token, wait};
use crate::rt::core::Core;
use crate::rt::deadline;
use crate::rt::ring::Completion;
use crate::stats::Answers;

/// With `WAITALL`, a send of which the socket takes only a part counts as failed, so that it does
/// say so; with `DONTWAIT`, it does not stay with the kernel to wait for room.
const TRY: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;

/// See the [module](self).
pub(in crate::rt) struct Off {
    pub(super) output: Output,
    /// Where it is of two pieces.
    _pieces: Option<Box<Pieces>>,
    pub(super) socket: u32,
    /// How long it may make no progress.
    pub(super) kind: deadline::Kind,
    /// Counted when it is over.
    pub(super) answers: Answers,
    /// Who waits for it after all.
    pub(super) waiter: Option<Waker>,
}

/// What of a socket's has been sent off and is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentOff {
    Nothing,
    /// An entry of `sent_off`, until the end of the turn.
    Tried(u32),
    /// An entry of `sends`: it waits for room.
    Waits(u32),
}

impl Core {
    /// Starts to send all of `output`, for nobody to wait for: most sends are over before anybody
    /// could, and who waits has to be woken. If it fails, the socket has failed. The buffer is kept
    /// by the core; another comes back, empty. Until [`poll_sent_off`](Self::poll_sent_off) is
    /// ready nothing else may be sent.
    pub(crate) fn send_off(
        &mut self,
        key: SocketKey,
        output: Output,
        idle: deadline::Kind,
        answers: Answers,
    ) -> io::Result<Vec<u8>> {
        self.alive()?;
        let index = key_of(self.sent_off.len());
        let fd = self.sockets[key.0 as usize].fd();
        let mut pieces = None;
        let send = output.send(0, fd, TRY, &mut pieces).flags(Flags::SKIP_SUCCESS);
        // SAFETY: the bytes, and what names two pieces of them, are on the heap and belong to the
        // entry of `sent_off`, or of `sends` after it, which neither changes nor frees them before
        // the kernel is done; the socket's descriptor is closed later.
        unsafe { self.push(send, Token::Off(index))? };
        let off = Off { output, _pieces: pieces, socket: key.0, kind: idle, answers, waiter: None };
        self.sent_off.push(Some(off));
        let socket = &mut self.sockets[key.0 as usize];
        socket.in_flight += 1;
        socket.sent_off = SentOff::Tried(index);
        Ok(self.buffer())
    }

    /// Waits until what was sent off is over, well or not; ready if nothing was.
    pub(crate) fn poll_sent_off(&mut self, key: SocketKey, cx: &mut Context<'_>) -> Poll<()> {
        let waiter = match self.sockets[key.0 as usize].sent_off {
            SentOff::Nothing => return Poll::Ready(()),
            SentOff::Waits(send) => &mut self.sends[send as usize].sender,
            SentOff::Tried(index) => {
                let Some(off) = &mut self.sent_off[index as usize] else { return Poll::Ready(()) };
                self.hurry = true;
                &mut off.waiter
            }
        };
        wait(waiter, cx, &mut self.garbage.wakers);
        Poll::Pending
    }

    /// The socket has not taken all of what was sent off.
    pub(in crate::rt) fn not_sent_off(&mut self, index: u32, completion: Completion) {
        let Some(off) = self.sent_off[index as usize].take() else { return };
        let socket = &mut self.sockets[off.socket as usize];
        socket.sent_off = SentOff::Nothing;
        socket.in_flight -= 1;
        let goes_on = socket.held && !self.ended;
        match completion.errno() {
            None | Some(libc::EAGAIN | libc::EINTR) if goes_on => {
                self.go_on_with(off, completion.result.max(0).unsigned_abs() as usize);
            }
            errno => {
                self.woken.extend(socket.fail(errno.unwrap_or(libc::ECANCELED)));
                self.let_go(off);
            }
        }
    }

    /// Everything has been submitted: what was sent off and has not failed was taken by its socket,
    /// after it was given to the kernel at that time.
    pub(in crate::rt) fn settle_sent_off(&mut self, given: Instant) {
        self.hurry = false;
        let mut sent = std::mem::take(&mut self.sent_off);
        for off in sent.drain(..).flatten() {
            self.outstanding -= 1;
            off.answers.record(&self.stats.latency, given);
            let socket = &mut self.sockets[off.socket as usize];
            socket.sent_off = SentOff::Nothing;
            socket.in_flight -= 1;
            self.let_go(off);
        }
        self.sent_off = sent;
    }

    fn let_go(&mut self, off: Off) {
        self.woken.extend(off.waiter);
        self.garbage.tails.extend(off.output.tail);
        self.recycle(off.output.buffer);
        self.release_if_over(SocketKey(off.socket));
    }
}
