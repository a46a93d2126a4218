//! What one worker counts.

use super::{Counter, Gauge};

/// The figures of one worker. It alone writes them; the supervisor reads.
#[derive(Debug, Default)]
pub(crate) struct WorkerStats {
    /// Connections open now, and those that a sibling has just sent here.
    pub connections: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Requests whose head was read.
    pub requests: Counter,
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
    /// Lives that ended otherwise than by order. Written by the supervisor.
    pub restarts: Counter,
}
