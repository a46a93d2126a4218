//! What a cluster tells those who watch it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
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
        /// Where the cluster serves its metrics.
        metrics: Option<Address>,
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
    /// The cluster has let go of its listening sockets. Unless somebody else holds them too, who
    /// connects from now on is refused.
    Closed,
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
    /// A worker has ended once too often: the cluster drains and ends.
    Errored {
        /// Which.
        worker: usize,
        /// Why it ended the last time.
        reason: ExitReason,
        /// How often it had been restarted of late.
        restarts: u32,
    },
    /// A handler keeps its core and does not yield. A successor takes the worker's sockets; the
    /// connections of the stuck one are shut down after `timeouts.drain`, if it is not back.
    Stalled {
        /// Which.
        worker: usize,
        /// At what.
        stall: Stall,
    },
    /// A worker that had stalled yields again. It ends what was begun, and goes.
    Recovered {
        /// Which.
        worker: usize,
    },
    /// The connections of a worker that could not end them itself were shut down.
    Released {
        /// Which.
        worker: usize,
        /// How many.
        connections: u64,
    },
    /// The number of workers is another now, or they have another app.
    Scaled {
        /// How many there are.
        workers: usize,
    },
    /// A worker has sent a message to whoever watches; see
    /// [`Workers::report`](crate::Workers::report).
    Message {
        /// Which.
        worker: usize,
        /// What.
        message: Message,
    },
    /// The supervisor's thread panicked, which is a mistake in corelane. The workers served on, and
    /// it goes on where it was.
    SupervisorPanicked {
        /// What the panic said.
        message: String,
    },
    /// A worker did not end in time; its thread is left to itself.
    Abandoned {
        /// Which.
        worker: usize,
    },
    /// The cluster has ended. No event follows.
    Stopped(Stopped),
}

/// What a worker was at when it stopped yielding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The pattern of the route whose handler does not yield; `None` outside handlers.
    pub route: Option<String>,
    /// For how long already.
    pub busy: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy = Duration::from_millis(u64::try_from(self.busy.as_millis()).unwrap_or(u64::MAX));
        match &self.route {
            Some(route) => write!(f, "stalled for {busy:?} in {route}"),
            None => write!(f, "stalled for {busy:?}"),
        }
    }
}

/// What a worker reports, of any type.
#[derive(Clone)]
pub struct Message(pub(crate) Arc<dyn Any + Send + Sync>);

impl Message {
    /// What was reported, if it is of this type.
    #[must_use]
    pub fn get<M: Any>(&self) -> Option<&M> {
        self.0.downcast_ref()
    }
}

/// Two are equal if they are the same report.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message")
    }
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
        /// Where it was, as `src/main.rs:10`.
        location: Option<String>,
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
            Self::Panic { message, location: None } => write!(f, "panic: {message}"),
            Self::Panic { message, location: Some(place) } => {
                write!(f, "panic at {place}: {message}")
            }
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
    /// Why it ended, if nobody had told it to.
    pub failure: Option<Failure>,
}

/// Why a cluster ended that nobody had told to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A worker ended more often than [`Restart`](crate::Restart) allows.
    Errored {
        /// Which.
        worker: usize,
        /// Why it ended the last time.
        reason: ExitReason,
    },
    /// More threads are stuck in handlers than
    /// [`Restart::stalled_max`](crate::Restart::stalled_max) allows.
    Stalled {
        /// How many.
        workers: usize,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errored { worker, reason } => {
                write!(f, "worker {worker} ends again and again, at last by: {reason}")
            }
            Self::Stalled { workers } => {
                write!(f, "{workers} threads are stuck in handlers that do not yield")
            }
        }
    }
}
