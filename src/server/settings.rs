//! What one worker allows its clients: sizes and times.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

/// How much a client may send or hold. Each limit is answered with the status named beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest request line, in bytes: 414.
    pub request_line_bytes: usize,
    /// The longest head (request line and headers), in bytes: 431.
    pub head_bytes: usize,
    /// How many header lines: 431.
    pub headers: usize,
    /// The longest request body, in bytes: 413.
    pub body_bytes: u64,
    /// How many connections a worker serves at once; one more gets 503 and is closed.
    pub connections: usize,
    /// How many pipelined answers are queued before reading stops.
    pub pipeline: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 * KIB,
            head_bytes: 16 * KIB,
            headers: 100,
            body_bytes: MIB,
            connections: 65_536,
            pipeline: 64,
        }
    }
}

/// What becomes of a worker when application code panics in answering a request: a handler, a
/// middleware, a streamed body, or what owns an upgraded connection.
///
/// A panic in a destructor that runs outside of those is noted and goes no further, either way. A
/// panic in a task that the application has spawned ends the worker, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// The client gets 500, its connection closes, and nobody else notices. An answer that was
    /// under way is cut short.
    #[default]
    Respond,
    /// The worker ends, as a process of Node's does: all its connections close, and it is started
    /// again with a new app. For applications whose state cannot be trusted after a panic.
    Restart,
}

/// How long a worker waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the first byte of a request, or from accept, to the end of its head: 408.
    pub header: Duration,
    /// Between two reads of a body: 408.
    pub body_idle: Duration,
    /// Between two requests of a connection: it is closed.
    pub keep_alive: Duration,
    /// Without progress in writing: the connection is closed.
    pub write_idle: Duration,
    /// From the order to stop to the end: what is then still open is cut.
    pub drain: Duration,
    /// While draining, how long an idle connection is kept to answer a request that is already on
    /// its way.
    pub idle_grace: Duration,
    /// How long a handler may keep its core without yielding, before a successor takes the worker's
    /// listeners over. At least 1 ms.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            write_idle: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            idle_grace: Duration::from_secs(1),
            stall: Duration::from_secs(5),
        }
    }
}

/// Who serves a new connection.
///
/// The kernel gives each connection to a worker by a hash of its addresses. That evens out over
/// many connections and is uneven with few: of 64 over eight workers one may get 4, another 12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Whoever has the fewest: a worker that has at least two connections more than that one
    /// passes a new one on.
    #[default]
    Least,
    /// Whomever the kernel chose.
    Kernel,
}
