//! Why a cluster was not started, or could not be waited for.

use std::any::Any;
use std::io;

use super::event::ExitReason;
use super::{AddressError, BindError, PlacementError};
use crate::rt::Fault;

/// Why a cluster was not started. `Display` is one line, with a hint where there is one.
///
/// No worker is left running, no socket open and no Unix path behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no address.
    #[error("nowhere to listen; hint: name an address with `listen`, as in 127.0.0.1:3000")]
    NoAddress,
    /// A CPU that this process may not use.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What the service manager passed cannot be taken.
    #[error("{problem}")]
    Inherit {
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The service manager passed sockets that no address is for. Their clients would wait for
    /// ever.
    #[error(
        "the service manager passed sockets that nobody listens on: {sockets}; \
         hint: list their addresses, or take them out of the socket unit"
    )]
    Unasked {
        /// Which.
        sockets: String,
    },
    /// `io_uring`, without which there is no worker, is refused.
    #[error("{problem}")]
    Ring {
        /// The cause, and the way out.
        problem: String,
    },
    /// What the process may use cannot be found out, or a thread cannot be had.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was told to end before every worker had listened.
    #[error("told to end before it had started")]
    Drained,
    /// A worker ended before every worker had listened.
    #[error("worker {worker} did not start: {reason}")]
    Worker {
        /// Which.
        worker: usize,
        /// Why it ended.
        reason: ExitReason,
    },
}

/// The supervisor panicked, which is a mistake in corelane; the workers may still run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor panicked: {message}")]
pub struct SupervisorPanic {
    message: String,
}

impl SupervisorPanic {
    /// From what the panic was caught with.
    pub(super) fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let Fault { message, .. } = Fault::from_payload(payload);
        Self { message }
    }
}

/// Why a cluster has not been changed: it is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing has changed: {problem}")]
pub struct ChangeError {
    pub(super) problem: String,
}
