//! What a connection needs of whatever carries it.

use std::io;
use std::task::{Context, Poll};

use crate::rt::{DeadlineKind, Output};
use crate::stats::Answers;
use crate::sys::pages::Pages;

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

    /// Starts to send `output`, which nobody waits for, and returns another buffer, empty. If that
    /// fails, the connection has failed. `answers` are counted when it is over.
    fn send_off(
        &mut self,
        output: Output,
        idle: DeadlineKind,
        answers: Answers,
    ) -> io::Result<Vec<u8>>;

    /// Sends the buffer of `output` and then `pages`, without a copy, as far as there is room for
    /// them, and returns how many bytes that were. Call it when nothing else is being sent; wait
    /// for room by [`poll_send`](Self::poll_send).
    fn send_pages(&mut self, output: &mut Output, pages: &mut Pages) -> io::Result<u64>;

    /// Whether a send is under way.
    fn is_sending(&self) -> bool;

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
