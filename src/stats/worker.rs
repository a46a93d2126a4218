//! What one worker counts.

use super::{Apart, Counter, Gauge, Histogram};

/// The figures of one worker. It alone writes them; the supervisor reads. They share no cache line
/// with another worker's.
#[derive(Debug, Default)]
pub(crate) struct WorkerStats {
    /// Connections open now, and those that a sibling has just sent here. Siblings look at it, and
    /// are not to slow down what is counted per request.
    pub connections: Apart<Gauge>,
    /// Connections accepted.
    pub accepted: Counter,
    /// Requests whose head was read.
    pub requests: Counter,
    /// Bytes received, whatever they were.
    pub bytes_received: Counter,
    /// Bytes given to the kernel to send.
    pub bytes_sent: Counter,
    /// Answers, refusals among them, when their heads were encoded.
    pub statuses: StatusCounters,
    /// How long requests took.
    pub latency: Histogram,
    /// Connections answered 503, because there were too many.
    pub overloaded: Counter,
    /// Requests refused before any handler saw them.
    pub refused: Counter,
    /// Handlers that panicked.
    pub panics: Counter,
    /// Accepts that failed and were tried again later.
    pub accept_failures: Counter,
    /// Fresh connections that were given to a sibling with fewer.
    pub handed_off: Counter,
    /// How often the worker fell asleep.
    pub parks: Counter,
    /// How often the kernel ran out of receive buffers.
    pub shortages: Counter,
}

/// Answers by the first digit of their status.
#[derive(Debug, Default)]
pub(crate) struct StatusCounters([Counter; 5]);

impl StatusCounters {
    /// One more answer. A status beyond 599, which only an application can have made up, is counted
    /// with the failures of the server.
    pub(crate) fn count(&self, status: u16) {
        self.0[usize::from(status / 100).clamp(1, 5) - 1].increment();
    }

    /// How many of each, 1xx first.
    pub(crate) fn get(&self) -> [u64; 5] {
        self.0.each_ref().map(Counter::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_statuses_by_their_first_digit() {
        let statuses = StatusCounters::default();
        for status in [101, 200, 204, 299, 304, 400, 499, 503, 999] {
            statuses.count(status);
        }
        assert_eq!(statuses.get(), [1, 3, 1, 2, 2]);
    }
}
