//! A cluster: its addresses, its workers, and the supervisor that keeps them.

mod address;
mod listen;
mod placement;

pub use address::{Address, AddressError};
pub use listen::BindError;
pub use placement::PlacementError;
mod instances;
pub use instances::{Instances, InstancesError};
