//! Answers that are sent together.

use std::time::Instant;

use super::Histogram;

/// When the requests of some answers began.
///
/// Two moments are enough: before more is received, what is queued is sent. So of the requests
/// whose answers are queued all came with the latest bytes, but for the first, which may have
/// begun before them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers {
    first: Instant,
    others: Instant,
    more: u64,
}

impl Answers {
    /// The first, to a request that began then.
    pub(crate) fn new(begun: Instant) -> Self {
        Self { first: begun, others: begun, more: 0 }
    }

    /// Another one.
    pub(crate) fn add(&mut self, begun: Instant) {
        if self.more == 0 {
            self.others = begun;
        }
        self.more += 1;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.more + 1
    }

    /// Records how long they took, now that they are sent.
    pub(crate) fn record(&self, latency: &Histogram, now: Instant) {
        latency.record(now.saturating_duration_since(self.first), 1);
        if self.more > 0 {
            latency.record(now.saturating_duration_since(self.others), self.more);
        }
    }
}
