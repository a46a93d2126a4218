//! One core: accept, the connection loop, limits, timeouts, drain.

mod serve;
mod settings;

pub(crate) use serve::{Order, Served, Setup, serve};
pub use settings::{Limits, Timeouts};
