//! What came of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What was counted between the end of the warm-up and the end of the run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// How long that was. In an open loop, until the last answer to a request that was due in
    /// time, if that came later.
    pub elapsed: Duration,
    /// Nanoseconds from the moment when a request was sent (closed loop) or was due (open loop) to
    /// the last byte of its answer; successes only, so its length is their number.
    pub latency: Histogram<u64>,
    /// Open loop only: nanoseconds between the moment when a request was due and the moment when
    /// it was sent, of those whose connection was free to send: how late the generator itself was.
    pub late: Option<Histogram<u64>>,
    /// Bytes sent to the server.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// Answers by their status, also those that count as errors.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that did not succeed, by kind.
    pub errors: Errors,
    /// Requests sent again because their connection, used before, was closed before any byte of
    /// the answer. They are no errors, and latency goes on counting. A connection has been used
    /// once it has given a whole answer.
    pub retried: u64,
    /// Open loop only: requests that were due and were never sent, because no connection was free
    /// until the end; of a run that was stopped also those that had no answer yet. They are errors
    /// of nobody, but no success either.
    pub unsent: u64,
    /// Closed loop only: requests that had no answer at the end, and had waited longer for it than
    /// every request that succeeded; those of the warm-up too. What else was in flight then is
    /// dropped.
    pub unanswered: u64,
    /// How long the one of them had waited that had waited longest.
    pub unanswered_for: Duration,
    /// The CPU time that each thread took meanwhile. In an open loop a thread does not sleep while
    /// a request is soon due; what it spends on waiting so is left out.
    pub cpu: Vec<Duration>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Requests that did not succeed. Each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    /// No connection came about: refused, unreachable.
    pub connect: u64,
    /// The connection was reset or broke.
    pub reset: u64,
    /// The time ran out, for the connection or for the answer.
    pub timeout: u64,
    /// The connection was closed before the answer was whole.
    pub short: u64,
    /// What came was no HTTP/1.x answer.
    pub malformed: u64,
    /// The answer was whole but its status was not a success, or not the one that was expected.
    pub status: u64,
}
