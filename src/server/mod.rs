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
mod lookout;
mod outbox;
mod outgoing;
mod peer;
mod serve;
mod settings;
mod sibling;
mod tap;
#[cfg(test)]
mod tests;

#[cfg(feature = "internals")]
pub(crate) use exchange::Rehearsal;
pub(crate) use serve::{Order, Report, Served, Setup, Share, serve};
pub use settings::{Balance, Limits, OnPanic, Timeouts};
pub(crate) use sibling::{Handed, Sibling, siblings};
