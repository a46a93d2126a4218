//! What a cluster tells those who watch it.

use std::fmt;
use std::time::Duration;

use super::Address;

/// Something happened to a cluster or to one of its workers. See
/// [`Cluster::on_event`](crate::Cluster::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Every address is bound; no worker runs yet.
    Bound {
        /// Where the cluster listens, with the ports that the kernel chose where 0 was asked for.
        addresses: Vec<Address>,
        /// The CPU of each worker.
        cpus: Vec<usize>,
        /// What the operator should know, such as that workers share CPUs.
        warning: Option<String>,
    },
    /// A worker was started, for the first time or again.
    Started {
        /// Which.
        worker: usize,
        /// The CPU it is pinned to.
        cpu: usize,
    },
    /// A worker accepts connections.
    Listening {
        /// Which.
        worker: usize,
        /// The CPU it is pinned to.
        cpu: usize,
    },
    /// The cluster accepts no more connections, and ends those it has.
    Draining {
        /// What is open after this time is cut.
        within: Duration,
    },
    /// A worker has ended, and its connections with it.
    Exited {
        /// Which.
        worker: usize,
        /// Why.
        reason: ExitReason,
    },
    /// A worker that has ended will have a successor, on the same CPU and the same sockets.
    Restarting {
        /// Which.
        worker: usize,
        /// Why it ended.
        reason: ExitReason,
        /// How long from now.
        after: Duration,
    },
    /// A worker did not end in time; its thread is left to itself.
    Abandoned {
        /// Which.
        worker: usize,
    },
    /// The cluster has ended. No event follows.
    Stopped(Stopped),
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was told to drain and did so.
    Drained {
        /// Connections that were still open when the time was up.
        cut: u64,
    },
    /// A task of it panicked, or the factory of its app did.
    Panic {
        /// What the panic said.
        message: String,
    },
    /// It could not be started, or its ring failed.
    Failed {
        /// What failed, and how.
        problem: String,
    },
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained { cut: 0 } => f.write_str("drained"),
            Self::Drained { cut } => write!(f, "drained, {cut} connections cut"),
            Self::Panic { message } => write!(f, "panic: {message}"),
            Self::Failed { problem } => f.write_str(problem),
        }
    }
}

/// How a cluster ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were still open when the time to drain was up.
    pub cut: u64,
    /// Workers that did not end in time; their threads may still run.
    pub abandoned: Vec<usize>,
}
