//! A cluster: its addresses, its workers, and the supervisor that keeps them.
//!
//! | file | what |
//! |---|---|
//! | `builder` | what a cluster is to be, and its start |
//! | `address`, `instances`, `placement` | where it listens, how many workers, on which CPUs |
//! | `listen` | the sockets, bound before any worker exists and held until the end |
//! | `inherit` | or passed by a service manager, and then matched to the addresses |
//! | `share` | which worker accepts from which socket |
//! | `fleet` | what the supervisor decides: a state machine without threads or clock |
//! | `watch` | which workers no longer yield, noticed without a clock |
//! | `supervisor` | the thread that does it |
//! | `crew` | the lives that there are, in its hands |
//! | `worker` | one life of a worker |
//! | `workers` | messages between workers |
//! | `metrics` | what is known, for Prometheus |
//! | `roster` | what is known without asking anybody |
//! | `handle`, `event`, `error` | what the program sees of it |

mod address;
mod builder;
mod crew;
mod error;
mod event;
mod fleet;
mod handle;
mod inherit;
mod instances;
mod listen;
mod metrics;
mod placement;
mod roster;
mod share;
mod supervisor;
mod watch;
mod worker;
mod workers;

pub use address::{Address, AddressError};
pub use builder::Cluster;
pub(crate) use builder::Ender;
pub use error::{ChangeError, StartError, SupervisorPanic};
pub use event::{Event, ExitReason, Failure, Message, Stall, Stopped};
pub use handle::ClusterHandle;
pub(crate) use handle::Remote;
pub(crate) use inherit::allot;
pub use instances::{Instances, InstancesError};
pub use listen::BindError;
#[cfg(feature = "cli")]
pub(crate) use listen::Listeners;
pub use placement::PlacementError;
pub use workers::{SendError, Workers};
