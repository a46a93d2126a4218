//! A cluster: its addresses, its workers, and the supervisor that keeps them.

mod address;

pub use address::{Address, AddressError};
