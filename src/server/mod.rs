//! One core: accept, the connection loop, limits, timeouts, drain.
//!
//! A worker's main future is [`serve`]. Each connection is a small task (`connection`) that waits
//! for its client; while there is something to do it borrows an `exchange` from the core's pool,
//! which holds all that a request needs: buffers, the decoded head, the answer on its way.

mod accept;
mod connection;
mod core;
mod date;
mod exchange;
mod incoming;
mod linger;
mod outbox;
mod outgoing;
mod peer;
mod serve;
mod settings;
mod tap;
#[cfg(test)]
mod tests;

pub(crate) use serve::{Order, Served, Setup, serve};
pub use settings::{Limits, OnPanic, Timeouts};
