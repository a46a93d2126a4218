//! What std lacks of Linux: limits, the allocator's habits, CPU sets, membarrier, the `io_uring`
//! probe, signals, who holds a listening socket or has connected to one, and what a service manager
//! passes, keeps and wants to hear. This room knows nothing of HTTP and uses no other room.

#[cfg(test)]
pub(crate) mod alone;
pub(crate) mod cgroup;
#[cfg(feature = "cli")]
pub(crate) mod child;
pub(crate) mod cpu;
pub(crate) mod heap;
#[cfg(feature = "cli")]
pub(crate) mod hearing;
pub(crate) mod inherit;
pub(crate) mod limits;
pub(crate) mod membarrier;
pub(crate) mod notify;
#[cfg(feature = "cli")]
pub(crate) mod orphan;
pub(crate) mod pages;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod signal;
#[cfg(feature = "cli")]
pub(crate) mod spawn;
#[cfg(feature = "cli")]
pub(crate) mod stat;
pub(crate) mod thread;
pub(crate) mod uring;
#[cfg(feature = "cli")]
pub(crate) mod usage;
#[cfg(feature = "cli")]
pub(crate) mod user;
