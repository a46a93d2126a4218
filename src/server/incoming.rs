//! The body of a request, from the socket to whoever reads it.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::exchange::Line;
use super::outbox::Outbox;
use crate::h1::{BodyDecoder, BodyLength, CONTINUE, Decoded, Refusal};
use crate::message::{Body, BodyError, Feeder, channel};
use crate::net::{Output, Transport};
use crate::rt::{WORTH_KEEPING, share};

/// Bytes received and not consumed yet.
#[derive(Default)]
pub(super) struct Input {
    pub bytes: Vec<u8>,
    pub start: usize,
}

impl Input {
    /// What has not been consumed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether all has been.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Consumes so many bytes and returns those of them that are `payload`: a copy, unless they are
    /// many and nothing is behind them. Then their memory goes along.
    fn take(&mut self, payload: Range<usize>, consumed: usize) -> Bytes {
        if payload.len() >= WORTH_KEEPING && consumed == self.rest().len() {
            let bytes = share(std::mem::take(&mut self.bytes));
            let start = std::mem::take(&mut self.start);
            return bytes.slice(start + payload.start..start + payload.end);
        }
        let bytes = Bytes::copy_from_slice(&self.rest()[payload]);
        self.start += consumed;
        bytes
    }

    /// Drops what has been consumed, to make room.
    pub(super) fn compact(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
    }
}

/// A body of which there is more to come.
pub(super) struct Incoming {
    feeder: Feeder,
    decoder: BodyDecoder,
    expects_continue: bool,
    waiting: bool,
    failed: bool,
    /// A large body whose reader waits for all of it: so far.
    gathered: Option<Gathered>,
}

/// A body that is received into its own memory.
struct Gathered {
    /// Lent while the kernel fills it.
    memory: Vec<u8>,
    _claim: Claim,
}

/// A body of which so much is still to come is received straight into its own memory, in bytes.
const GATHERED_MIN: u64 = 128 * 1024;
/// Its memory is taken at once, on the client's word: up to this size, in bytes.
const GATHERED_MAX: u64 = 16 * 1024 * 1024;
/// And for so much on a core at a time, in bytes. Beyond, a body's memory grows as it arrives:
/// many clients who announce and do not send must not exhaust what the system commits itself to.
const CLAIMED_MAX: u64 = if cfg!(test) { 4 * 1024 * 1024 } else { 128 * 1024 * 1024 };

/// Memory that was taken on a client's word, until the body is there or given up.
struct Claim {
    claimed: Rc<Cell<u64>>,
    bytes: u64,
}

impl Claim {
    /// None if the core has claimed too much already.
    fn take(claimed: &Rc<Cell<u64>>, bytes: u64) -> Option<Self> {
        let all = claimed.get() + bytes;
        (all <= CLAIMED_MAX).then(|| {
            claimed.set(all);
            Self { claimed: Rc::clone(claimed), bytes }
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claimed.set(self.claimed.get() - self.bytes);
    }
}

impl Incoming {
    /// The body of a request: whole if it has arrived, else fed as it arrives.
    pub(super) fn open(
        head: &Decoded,
        max: u64,
        input: &mut Input,
    ) -> Result<(Body, Option<Self>), Refusal> {
        let size = match head.length {
            BodyLength::None => return Ok((Body::empty(), None)),
            BodyLength::Exact(size) => Some(size),
            BodyLength::Chunked => None,
        };
        let decoder = BodyDecoder::new(head.length, max)?;
        if let Some(size) = size.and_then(|size| usize::try_from(size).ok())
            && input.rest().len() >= size
        {
            return Ok((input.take(0..size, size).into(), None));
        }
        let (feeder, reader) = channel();
        let expects_continue = head.expects_continue && input.is_empty();
        let incoming = Self {
            feeder,
            decoder,
            expects_continue,
            waiting: false,
            failed: false,
            gathered: None,
        };
        Ok((Body::incoming(reader, size), Some(incoming)))
    }

    /// Whether somebody waits for more of it.
    pub(super) fn wanted(&self) -> bool {
        self.feeder.wanted()
    }

    /// Has this task woken when somebody does.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.feeder.watch(cx);
    }

    /// Hands on one piece of what has arrived, receiving if need be.
    pub(super) fn poll_feed(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line,
        input: &mut Input,
        outbox: &mut Outbox,
    ) -> Poll<()> {
        loop {
            if self.gathers(&line.core.claimed, input) || self.decode(input, true) {
                return Poll::Ready(());
            }
            if std::mem::take(&mut self.expects_continue) {
                outbox.output.buffer.extend_from_slice(CONTINUE);
            }
            let sending = match outbox.poll_send(cx, line) {
                Poll::Ready(Err(_)) => {
                    self.fail(BodyError::Disconnected);
                    return Poll::Ready(());
                }
                polled => polled.is_pending(),
            };
            // A client may want to read what is sent before it goes on sending.
            if sending || !self.waiting {
                line.stream.arm(line.core.waits.body_idle);
            }
            self.waiting = !sending;
            let received = ready!(self.poll_receive(cx, line, input));
            self.waiting = false;
            match received {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.fail(BodyError::TimedOut);
                    return Poll::Ready(());
                }
                Ok(0) | Err(_) => {
                    self.fail(BodyError::Disconnected);
                    return Poll::Ready(());
                }
            }
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line,
        input: &mut Input,
    ) -> Poll<io::Result<usize>> {
        let Some(Gathered { memory, .. }) = &mut self.gathered else {
            input.compact();
            return line.poll_receive(cx, &mut input.bytes);
        };
        let left = self.decoder.left().and_then(|left| usize::try_from(left).ok());
        let received = ready!(line.poll_fill(cx, memory, left.unwrap_or(0)))?;
        let new = memory.len() - received;
        // Of a body of known length every byte is payload.
        let _payload = self.decoder.decode(&memory[new..]);
        Poll::Ready(Ok(received))
    }

    /// Whether the body is gathered, and complete: then it has been handed on.
    fn gathers(&mut self, claimed: &Rc<Cell<u64>>, input: &mut Input) -> bool {
        if self.gathered.is_none() {
            self.gathered = self.begin_to_gather(claimed, input);
        }
        match self.gathered.take_if(|_| self.decoder.is_done()) {
            None => false,
            Some(Gathered { memory, .. }) => {
                self.feeder.push(memory.into());
                self.feeder.end(Ok(()));
                true
            }
        }
    }

    /// Memory for what is still to come, with what has arrived of it, if the body is such a one.
    fn begin_to_gather(&mut self, claimed: &Rc<Cell<u64>>, input: &mut Input) -> Option<Gathered> {
        let left = self.decoder.left().filter(|_| self.feeder.wanted_whole())?;
        let bounds = GATHERED_MIN..=GATHERED_MAX;
        let claim = bounds.contains(&left).then(|| Claim::take(claimed, left))??;
        let mut memory = Vec::with_capacity(usize::try_from(left).ok()?);
        let arrived = input.rest();
        let piece = self.decoder.decode(arrived).ok()?;
        memory.extend_from_slice(&arrived[piece.payload]);
        input.start += piece.consumed;
        Some(Gathered { memory, _claim: claim })
    }

    /// Decodes up to the next payload. False if more bytes are needed.
    fn decode(&mut self, input: &mut Input, feed: bool) -> bool {
        loop {
            if self.failed || self.decoder.is_done() {
                return true;
            }
            let piece = match self.decoder.decode(input.rest()) {
                Ok(piece) => piece,
                Err(refusal) => {
                    let too_large = refusal.status == http::StatusCode::PAYLOAD_TOO_LARGE;
                    self.fail(if too_large { BodyError::TooLarge } else { BodyError::Malformed });
                    return true;
                }
            };
            let handed = feed && !piece.payload.is_empty();
            if handed {
                self.feeder.push(input.take(piece.payload, piece.consumed));
            } else {
                input.start += piece.consumed;
            }
            if piece.done {
                self.feeder.end(Ok(()));
            }
            if handed || piece.done {
                return true;
            }
            if piece.consumed == 0 {
                return false;
            }
        }
    }

    fn fail(&mut self, error: BodyError) {
        self.failed = true;
        self.feeder.end(Err(error));
    }

    /// Whether the next request can be read behind this one: its body is, or has already been
    /// received to its end; or its reader is still at it while the answer is `streamed`, and told
    /// to go on if it waits for that: behind the answer's head it would be too late.
    pub(super) fn settle(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        streamed: bool,
    ) -> bool {
        if streamed && !self.feeder.abandoned() {
            if std::mem::take(&mut self.expects_continue) && !self.failed {
                output.buffer.extend_from_slice(CONTINUE);
            }
            return !self.failed;
        }
        self.skip(input)
    }

    /// As [`settle`](Self::settle), but once the answer has been sent nobody reads any more.
    pub(super) fn finish(mut self, input: &mut Input) -> bool {
        self.skip(input)
    }

    /// Passes over what has been received of the body. False if there is more to come.
    fn skip(&mut self, input: &mut Input) -> bool {
        while !self.failed && !self.decoder.is_done() && self.decode(input, false) {}
        !self.failed && self.decoder.is_done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_claimed_than_the_limit_until_something_is_given_back() {
        let claimed = Rc::default();
        let one = Claim::take(&claimed, CLAIMED_MAX - GATHERED_MIN).unwrap();
        let other = Claim::take(&claimed, GATHERED_MIN);
        assert!(other.is_some() && Claim::take(&claimed, 1).is_none());
        drop(one);
        assert_eq!(claimed.get(), GATHERED_MIN);
        assert!(Claim::take(&claimed, CLAIMED_MAX - GATHERED_MIN).is_some());
        drop(other);
        assert_eq!(claimed.get(), 0);
    }

    #[test]
    fn a_large_piece_is_not_copied_if_nothing_is_behind_it() {
        const LARGE: usize = WORTH_KEEPING;
        // Bytes before the piece, in it, consumed behind it, and left.
        for (start, length, end, left, copied) in [
            (10, LARGE, 0, 0, false),
            (0, LARGE, 2, 0, false),
            (10, LARGE, 2, 1, true),
            (10, LARGE - 1, 0, 0, true),
        ] {
            let mut bytes = vec![b'h'; start];
            bytes.resize(start + length, b'p');
            bytes.resize(start + length + end + left, b't');
            let memory = bytes.as_ptr().wrapping_add(start);
            let mut input = Input { bytes, start };
            let piece = input.take(0..length, length + end);
            assert_eq!((piece.len(), piece.iter().all(|byte| *byte == b'p')), (length, true));
            assert_eq!(piece.as_ptr() != memory, copied, "{length} bytes, {left} left");
            assert_eq!(input.rest(), vec![b't'; left]);
        }
    }
}
