//! What one worker counts.

use super::Counter;

/// The figures of one worker. It alone writes them; the supervisor reads.
#[derive(Debug, Default)]
pub(crate) struct WorkerStats {
    /// Connections open now.
    pub connections: Counter,
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
}
