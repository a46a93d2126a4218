//! The executor of one core: glommio's, with a ring of our own on the same pinned thread.
//!
//! glommio owns the thread, its pinning and the scheduling of tasks; its timers, channels and
//! blocking pool keep working. Sockets and file reads go through a second ring (`Driver`), which
//! the root task turns: submit, run deferred work, reap, wake, yield.
#![expect(unsafe_code, reason = "the kernel reads and writes memory that this room owns")]

#[cfg(test)]
mod allocation;
mod block;
mod blocking;
mod core;
mod crowd;
mod deadline;
mod draining;
mod driver;
mod executor;
mod fault;
mod file;
mod mailbox;
mod op;
mod quarantine;
mod registry;
mod ring;
mod task;
mod timer;

#[cfg(test)]
pub(crate) use allocation::allocations;
#[cfg(test)]
pub(crate) use block::blocks_kept;
pub(crate) use block::{WORTH_KEEPING, share};
pub use blocking::{BlockingError, spawn_blocking};
pub(crate) use core::Core as Tables;
pub(crate) use deadline::Kind as DeadlineKind;
pub use draining::{Draining, draining};
pub(crate) use driver::Driver;
#[cfg(feature = "internals")]
pub(crate) use driver::Installed;
pub(crate) use executor::{End, Options, run};
pub(crate) use fault::Fault;
pub use file::File;
pub(crate) use mailbox::{Receiver, Sender, mailbox};
pub(crate) use op::{AcceptKey, Accepted, Arming, ConnectKey, Output, SendKey, SocketKey};
pub(crate) use registry::Registry;
pub(crate) use task::spawn_detached;
pub use task::{JoinHandle, spawn_local};
#[cfg(test)]
pub(crate) use timer::glommio_sleep;
pub use timer::{Sleep, sleep};
