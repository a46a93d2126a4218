//! What to send, where, how fast and for how long.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

/// One run against one server.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who is asked.
    pub target: Target,
    /// The request, from its first line to the last byte of its body. It is sent as it is.
    pub request: Vec<u8>,
    /// Whether the answer ends with its head: the request's method is HEAD.
    pub headless_answer: bool,
    /// Connections in all, spread over the threads as evenly as can be; at least one per thread.
    pub connections: usize,
    /// Threads, each with an executor pinned to a CPU.
    pub threads: usize,
    /// The requests of a connection that may be without an answer at a time.
    pub pipeline: usize,
    /// Whether a connection is used again; otherwise every request has one of its own.
    pub keep_alive: bool,
    /// When requests are sent.
    pub pace: Pace,
    /// When to stop.
    pub until: Until,
    /// What comes before the measurement, and is left out of it.
    pub warm_up: Duration,
    /// How long a connection may take to be made, and an answer to come.
    pub timeout: Duration,
    /// The status that counts as success; otherwise any of 200 to 299.
    pub expect: Option<StatusCode>,
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A host's addresses, of which all connections take the first that can be reached.
    Tcp(Vec<SocketAddr>),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As soon as the answer to an earlier one has come.
    Closed,
    /// So many per second in all, on a fixed schedule, whatever the server does.
    Open {
        /// Requests per second, more than zero.
        rate: f64,
    },
}

/// When a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// After this time, the warm-up not counted.
    Elapsed(Duration),
    /// After so many answers and errors, those of the warm-up not counted.
    Requests(u64),
}
