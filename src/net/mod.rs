//! Listeners and streams on the core's ring, TCP and Unix.

mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use listener::Listener;
pub(crate) use stream::Stream;
pub(crate) use transport::Transport;

pub(crate) use crate::rt::{Arming, Output};
