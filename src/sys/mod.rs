//! What std lacks of Linux: limits, CPU sets, membarrier, the `io_uring` probe, signals, and who
//! holds a listening socket. This room knows nothing of HTTP and uses no other room.

pub(crate) mod cpu;
pub(crate) mod limits;
pub(crate) mod membarrier;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod uring;
