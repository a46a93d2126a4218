//! What one thread counts.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Errors;
use super::schedule::Nanos;

/// The longest latency that is told from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant digits of what is recorded.
const DIGITS: u8 = 3;
/// One more than the highest status.
const STATUSES: usize = 1000;

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection came about.
    Connect,
    /// The connection was reset or broke.
    Reset,
    /// The time ran out.
    Timeout,
    /// The connection was closed before the answer was whole.
    Short,
    /// What came was no answer.
    Malformed,
    /// The answer's status was not a success.
    Status,
}

/// See [`Outcome`](super::Outcome).
#[derive(Debug)]
pub(super) struct Tally {
    pub latency: Histogram<u64>,
    pub late: Histogram<u64>,
    /// By status.
    pub statuses: Box<[u64]>,
    pub errors: Errors,
    pub retried: u64,
    pub unsent: u64,
    pub sent: u64,
    pub received: u64,
    /// Answers and errors.
    pub counted: u64,
    /// When the last of them was.
    pub last: Nanos,
    /// When the last success was.
    pub last_answer: Nanos,
    /// How long the thread was busy only with waiting for the next request to be due.
    pub idle: Duration,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            latency: histogram(),
            late: histogram(),
            statuses: vec![0; STATUSES].into(),
            errors: Errors::default(),
            retried: 0,
            unsent: 0,
            sent: 0,
            received: 0,
            counted: 0,
            last: 0,
            last_answer: 0,
            idle: Duration::ZERO,
        }
    }

    /// A whole answer.
    pub(super) fn answered(&mut self, status: u16, success: bool, from: Nanos, now: Nanos) {
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
        if success {
            self.latency.saturating_record(now.saturating_sub(from));
            self.counted += 1;
            self.last = now;
            self.last_answer = now;
        } else {
            self.failed(Failure::Status, now);
        }
    }

    /// A request that came to nothing.
    pub(super) fn failed(&mut self, failure: Failure, now: Nanos) {
        let errors = &mut self.errors;
        *match failure {
            Failure::Connect => &mut errors.connect,
            Failure::Reset => &mut errors.reset,
            Failure::Timeout => &mut errors.timeout,
            Failure::Short => &mut errors.short,
            Failure::Malformed => &mut errors.malformed,
            Failure::Status => &mut errors.status,
        } += 1;
        self.counted += 1;
        self.last = now;
    }

    /// Adds what another thread has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.late += &other.late;
        for (count, more) in self.statuses.iter_mut().zip(&other.statuses) {
            *count += more;
        }
        let (errors, more) = (&mut self.errors, &other.errors);
        errors.connect += more.connect;
        errors.reset += more.reset;
        errors.timeout += more.timeout;
        errors.short += more.short;
        errors.malformed += more.malformed;
        errors.status += more.status;
        self.retried += other.retried;
        self.unsent += other.unsent;
        self.sent += other.sent;
        self.received += other.received;
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS)
        .expect("invariant: bounds and digits that the crate allows")
}
