//! A cluster: its addresses, its workers, and the supervisor that keeps them.

mod address;
mod placement;

pub use address::{Address, AddressError};
pub use placement::PlacementError;
