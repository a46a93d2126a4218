//! A send, and the bytes that it sends.

use std::io;
use std::task::{Context, Poll, Waker};

use super::off::{Off, SentOff};
use super::output::{Output, Pieces};
use super::socket::key_of;
use super::{SocketKey, Token, wait};
use crate::rt::core::Core;
use crate::rt::deadline;
use crate::rt::ring::Completion;
use crate::stats::Answers;

/// Names a send that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendKey(u32);

/// See the [module](self).
pub(in crate::rt) struct Send {
    output: Output,
    sent: usize,
    /// Where the latest operation was of two pieces.
    pieces: Option<Box<Pieces>>,
    socket: u32,
    outcome: Option<Result<(), i32>>,
    pub(super) sender: Option<Waker>,
    kind: deadline::Kind,
    deadline: u32,
    expired: bool,
    held: bool,
    /// Of a send that nobody waits for: the answers that it sends, to be counted when it is over.
    off: Option<Answers>,
}

impl Send {
    fn new(socket: SocketKey, output: Output, kind: deadline::Kind) -> Self {
        Self {
            output,
            sent: 0,
            pieces: None,
            socket: socket.0,
            outcome: None,
            sender: None,
            kind,
            deadline: deadline::NONE,
            expired: false,
            held: true,
            off: None,
        }
    }
}

impl Core {
    /// Starts to send all of `output`; `idle` is how long it may make no progress.
    pub(crate) fn send(
        &mut self,
        socket: SocketKey,
        output: Output,
        idle: deadline::Kind,
    ) -> io::Result<SendKey> {
        self.alive()?;
        Ok(SendKey(self.begin_send(Send::new(socket, output, idle))))
    }

    fn begin_send(&mut self, send: Send) -> u32 {
        self.sockets[send.socket as usize].in_flight += 1;
        let key = key_of(self.sends.insert(send));
        self.push_send(key);
        key
    }

    /// Goes on with what was sent off, and of which the socket has taken so many bytes.
    pub(super) fn go_on_with(&mut self, tried: Off, taken: usize) {
        let socket = SocketKey(tried.socket);
        let send = Send {
            sent: taken,
            sender: tried.waiter,
            off: Some(tried.answers),
            ..Send::new(socket, tried.output, tried.kind)
        };
        let key = self.begin_send(send);
        // It is over already if it could not be submitted.
        if let Some(send) = self.sends.get_mut(key as usize) {
            let (owner, now) = (Token::Send(key).pack(), self.clock.millis());
            self.deadlines.arm(&mut send.deadline, send.kind, owner, now);
            self.sockets[socket.0 as usize].sent_off = SentOff::Waits(key);
        }
    }

    fn push_send(&mut self, key: u32) {
        let send = &mut self.sends[key as usize];
        let fd = self.sockets[send.socket as usize].fd();
        let entry = send.output.send(send.sent, fd, libc::MSG_NOSIGNAL, &mut send.pieces);
        // SAFETY: the bytes, and what names two pieces of them, are on the heap and belong to the
        // entry of `sends`, which neither changes nor frees them before the completion; the
        // socket's descriptor is closed later.
        if unsafe { self.push(entry, Token::Send(key)) }.is_err() {
            self.finish_send(key, Err(libc::EIO));
        }
    }

    /// A completion of a send.
    pub(in crate::rt) fn sent(&mut self, key: u32, completion: Completion) {
        let now = self.clock.millis();
        let send = &mut self.sends[key as usize];
        // What was sent off has no owner to give it up but its socket, whose cancellation may have
        // come just after the kernel had taken a part.
        let wanted = send.held && self.sockets[send.socket as usize].held;
        let goes_on = wanted && !send.expired && !self.ended;
        let given_up = if send.expired { libc::ETIMEDOUT } else { libc::ECANCELED };
        match completion.errno() {
            None => {
                send.sent += completion.result.unsigned_abs() as usize;
                if send.sent >= send.output.len() {
                    self.finish_send(key, Ok(()));
                } else if goes_on {
                    if send.deadline != deadline::NONE {
                        let owner = Token::Send(key).pack();
                        self.deadlines.arm(&mut send.deadline, send.kind, owner, now);
                    }
                    self.push_send(key);
                } else {
                    self.finish_send(key, Err(given_up));
                }
            }
            Some(libc::EINTR | libc::EAGAIN) if goes_on => self.push_send(key),
            Some(_) if send.expired => self.finish_send(key, Err(given_up)),
            Some(errno) => self.finish_send(key, Err(errno)),
        }
    }

    fn finish_send(&mut self, key: u32, outcome: Result<(), i32>) {
        let send = &mut self.sends[key as usize];
        self.deadlines.disarm(&mut send.deadline);
        let socket = send.socket;
        send.outcome = Some(outcome);
        self.woken.extend(send.sender.take());
        if let Some(answers) = send.off.take() {
            self.end_sent_off(key, outcome, &answers);
        } else if !send.held {
            let Output { buffer, tail } = self.sends.remove(key as usize).output;
            self.quarantine.take(buffer);
            self.garbage.tails.extend(tail);
        }
        let entry = &mut self.sockets[socket as usize];
        entry.in_flight -= 1;
        self.release_if_over(SocketKey(socket));
    }

    fn end_sent_off(&mut self, key: u32, outcome: Result<(), i32>, answers: &Answers) {
        let send = self.sends.remove(key as usize);
        let socket = &mut self.sockets[send.socket as usize];
        socket.sent_off = SentOff::Nothing;
        match outcome {
            Ok(()) => answers.record(&self.stats.latency, self.clock.now),
            Err(errno) => self.woken.extend(socket.fail(errno)),
        }
        self.garbage.tails.extend(send.output.tail);
        self.recycle(send.output.buffer);
    }

    /// Waits for the end of a send and takes the output back.
    pub(crate) fn poll_sent(
        &mut self,
        key: SendKey,
        cx: &mut Context<'_>,
    ) -> Poll<(io::Result<()>, Output)> {
        let now = self.clock.millis();
        let send = &mut self.sends[key.0 as usize];
        let Some(outcome) = send.outcome else {
            if send.deadline == deadline::NONE && !send.expired {
                let owner = Token::Send(key.0).pack();
                self.deadlines.arm(&mut send.deadline, send.kind, owner, now);
            }
            wait(&mut send.sender, cx, &mut self.garbage.wakers);
            return Poll::Pending;
        };
        let send = self.sends.remove(key.0 as usize);
        Poll::Ready((outcome.map_err(io::Error::from_raw_os_error), send.output))
    }

    /// The deadline of a send has passed: it is cancelled, and ends as timed out.
    pub(in crate::rt) fn send_expired(&mut self, key: u32) {
        let send = &mut self.sends[key as usize];
        send.deadline = deadline::NONE;
        send.expired = true;
        self.cancel(Token::Send(key));
    }

    /// Nobody waits for the send any more. The socket's owner cancels it, or lets it end.
    pub(crate) fn forget_send(&mut self, key: SendKey) {
        let Some(send) = self.sends.get_mut(key.0 as usize) else { return };
        send.held = false;
        self.garbage.wakers.extend(send.sender.take());
        self.deadlines.disarm(&mut send.deadline);
        if send.outcome.is_some() {
            self.garbage.tails.extend(self.sends.remove(key.0 as usize).output.tail);
        }
    }
}
