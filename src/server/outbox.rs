//! Answers on their way out, and what is counted once they are gone.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;

use super::core::Core;
use super::exchange::Line;
use crate::net::{Output, Transport};

/// Answers that are sent together.
#[derive(Default)]
pub(super) struct Outbox {
    pub output: Output,
    /// The answers that `output` holds in whole.
    batch: Option<Batch>,
}

/// When the requests of some answers began.
///
/// Two moments are enough: before more is received, what is queued is sent. So of the requests
/// whose answers are queued all came with the latest bytes, but for the first, which may have
/// begun before them.
struct Batch {
    first: Instant,
    others: Instant,
    more: u64,
}

impl Outbox {
    /// Notes that an answer is queued in whole, to a request that began then.
    pub(super) fn note(&mut self, begun: Instant) {
        let Some(batch) = &mut self.batch else {
            self.batch = Some(Batch { first: begun, others: begun, more: 0 });
            return;
        };
        if batch.more == 0 {
            batch.others = begun;
        }
        batch.more += 1;
    }

    /// How many answers are queued.
    pub(super) fn queued(&self) -> usize {
        let queued = self.batch.as_ref().map_or(0, |batch| batch.more + 1);
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
        if let Some(batch) = self.batch.take()
            && sent.is_ok()
        {
            batch.record(&line.core);
        }
        Poll::Ready(sent)
    }

    /// How many bytes the kernel has not been given yet.
    fn bytes(&self) -> u64 {
        let tail = self.output.tail.as_ref().map_or(0, Bytes::len);
        (self.output.buffer.len() + tail) as u64
    }

    /// Gets ready for the next connection, with memory for this many bytes.
    pub(super) fn clear(&mut self, capacity: usize) {
        self.batch = None;
        self.output.tail = None;
        self.output.buffer.clear();
        self.output.buffer.shrink_to(capacity);
    }
}

impl Batch {
    fn record(&self, core: &Core) {
        let now = core.now();
        let latency = &core.stats.latency;
        latency.record(now.saturating_duration_since(self.first), 1);
        if self.more > 0 {
            latency.record(now.saturating_duration_since(self.others), self.more);
        }
    }
}
