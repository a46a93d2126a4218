//! A cluster: its addresses, its workers, and the supervisor that keeps them.
//!
//! | file | what |
//! |---|---|
//! | `builder` | what a cluster is to be, and its start |
//! | `address`, `instances`, `placement` | where it listens, how many workers, on which CPUs |
//! | `balance` | who serves a new connection |
//! | `listen` | the sockets, bound before any worker exists and held until the end |
//! | `inherit` | or passed by a service manager, and then matched to the addresses |
//! | `fleet` | what the supervisor decides: a state machine without threads or clock |
//! | `supervisor` | the thread that does it |
//! | `worker` | one life of a worker |
//! | `handle`, `event`, `error` | what the program sees of it |

mod address;
mod balance;
mod builder;
mod error;
mod event;
mod fleet;
mod handle;
mod inherit;
mod instances;
mod listen;
mod placement;
mod supervisor;
mod worker;

pub use address::{Address, AddressError};
pub use balance::Balance;
pub use builder::Cluster;
pub use error::{StartError, SupervisorPanic};
pub use event::{Event, ExitReason, Stopped};
pub use handle::ClusterHandle;
pub(crate) use inherit::allot;
pub use instances::{Instances, InstancesError};
pub use listen::BindError;
pub use placement::PlacementError;
