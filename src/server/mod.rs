//! One core: accept, the connection loop, limits, timeouts, drain.

mod settings;

pub use settings::{Limits, Timeouts};
