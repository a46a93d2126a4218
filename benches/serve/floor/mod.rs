//! The bare loops: one pinned thread that answers every request alike.
//!
//! No routes, no limits, no timeouts, no executor: what is left is the least that a server can
//! spend on this kernel through `io_uring` or through epoll, with requests parsed by httparse.
//! Not to be run where strangers can connect.

mod answer;
mod buffers;
mod epoll;
mod serve;
mod uring;

pub(crate) use serve::{Kind, serve};
