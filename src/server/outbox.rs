//! Answers on their way out, and what is counted once they are gone.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::exchange::Line;
use crate::net::{Output, Transport};
use crate::stats::Answers;

/// Answers of so many bytes are sent off, at most: the time in which the next request is to come
/// runs from then, and a client that reads slowly would take more of it to read larger ones.
const SENT_OFF_MAX: u64 = 128 * 1024;

/// Answers that are sent together.
#[derive(Default)]
pub(super) struct Outbox {
    pub output: Output,
    /// The answers that `output` holds in whole.
    answers: Option<Answers>,
}

impl Outbox {
    /// Notes that an answer is queued in whole, to a request that began then.
    pub(super) fn note(&mut self, begun: Instant) {
        match &mut self.answers {
            None => self.answers = Some(Answers::new(begun)),
            Some(answers) => answers.add(begun),
        }
    }

    /// How many answers are queued.
    pub(super) fn queued(&self) -> usize {
        let queued = self.answers.as_ref().map_or(0, Answers::count);
        usize::try_from(queued).unwrap_or(usize::MAX)
    }

    /// Sends all, and counts it when the kernel has taken it. No clock is read: that is the time
    /// of the turn which saw it.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line,
    ) -> Poll<io::Result<()>> {
        let idle = line.core.waits.write_idle;
        let before = self.bytes();
        let polled = line.stream.poll_send(cx, &mut self.output, idle);
        let given = before - self.bytes();
        if given > 0 {
            line.core.stats.bytes_sent.add(given);
        }
        let sent = ready!(polled);
        if let Some(answers) = self.answers.take()
            && sent.is_ok()
        {
            answers.record(&line.core.stats.latency, line.core.now());
        }
        Poll::Ready(sent)
    }

    /// Sends off what is queued: nobody waits for it, and if it fails, the connection does. False
    /// if it has to be sent by [`poll_send`](Self::poll_send).
    pub(super) fn send_off(&mut self, line: &mut Line) -> io::Result<bool> {
        let bytes = self.bytes();
        if bytes == 0 || bytes > SENT_OFF_MAX {
            return Ok(false);
        }
        let Some(answers) = self.answers.take() else { return Ok(false) };
        let output = std::mem::take(&mut self.output);
        line.core.stats.bytes_sent.add(bytes);
        self.output.buffer = line.stream.send_off(output, line.core.waits.write_idle, answers)?;
        Ok(true)
    }

    /// How many bytes the kernel has not been given yet.
    fn bytes(&self) -> u64 {
        self.output.len() as u64
    }

    /// Gets ready for the next connection, with memory for this many bytes.
    pub(super) fn clear(&mut self, capacity: usize) {
        self.answers = None;
        self.output.tail = None;
        self.output.buffer.clear();
        self.output.buffer.shrink_to(capacity);
    }
}
