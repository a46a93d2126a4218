//! What a connection needs of whatever carries it.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::rt::{DeadlineKind, Payload};
use crate::stats::Answers;

/// Bytes on their way out: a buffer that is used again and again, and shared pieces behind it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Encoded heads and small bodies.
    pub buffer: Vec<u8>,
    /// A large body, sent behind the buffer without a copy.
    pub tail: Option<Bytes>,
}

impl Output {
    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.tail.is_none()
    }

    /// All of it, to be sent in one; none if there is nothing.
    pub(crate) fn take(&mut self) -> Option<Payload> {
        if self.is_empty() {
            return None;
        }
        let Self { buffer, tail } = std::mem::take(self);
        Some(Payload { buffer, tail })
    }

    /// Takes the memory of what has been sent back.
    pub(super) fn give_back(&mut self, mut sent: Payload) {
        sent.buffer.clear();
        if self.buffer.capacity() == 0 {
            self.buffer = sent.buffer;
        }
    }
}

/// A byte stream under a connection: a socket now; TLS or a stream of HTTP/2 later.
pub(crate) trait Transport {
    /// Waits until something has arrived, the peer has ended, or the deadline has passed.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Receives what has arrived behind what `input` holds; 0 when the peer has ended.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>>;

    /// Receives at most so many bytes straight into `into`, behind what it holds; 0 when the peer
    /// has ended. Call it again with the same arguments until it is ready: until then `into` is
    /// lent, and empty.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>>;

    /// Sends all of `output` and leaves it empty, with its memory. `idle` is how long a piece may
    /// make no progress. Call it again until it is ready.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Output,
        idle: DeadlineKind,
    ) -> Poll<io::Result<()>>;

    /// Starts to send `payload`, which nobody waits for, and returns another buffer, empty. If that
    /// fails, the connection has failed. `answers` are counted when it is over.
    fn send_off(
        &mut self,
        payload: Payload,
        idle: DeadlineKind,
        answers: Answers,
    ) -> io::Result<Vec<u8>>;

    /// Waits until what was sent off is over, before anything else is sent, or the end.
    fn poll_sent_off(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits for the connection to fail; bytes that arrive meanwhile stay where they are, and so
    /// does the end of what the peer sends, who may still read.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<io::Error>;

    /// Sets when waiting to receive ends with `TimedOut`.
    fn arm(&mut self, kind: DeadlineKind);

    /// Waits to receive without end.
    fn disarm(&mut self);

    /// Says to the peer that nothing more will be sent.
    fn shutdown(&mut self) -> io::Result<()>;
}
