//! The operations that are with the kernel, one table per kind.
//!
//! Whatever the kernel may still touch (a buffer, an address, a descriptor) belongs to an entry of
//! these tables until the operation's last completion, never to a future. A future that is dropped
//! leaves the entry behind as an orphan, which goes when the kernel has let go of it.

mod accept;
mod connect;
mod fill;
mod off;
mod output;
mod read;
mod send;
mod socket;
mod token;
mod waiter;

pub(super) use accept::Accept;
pub(crate) use accept::{AcceptKey, Accepted, Arming};
pub(super) use connect::Connect;
pub(crate) use connect::ConnectKey;
pub(super) use off::Off;
pub(crate) use output::Output;
pub(super) use read::Read;
pub(crate) use read::ReadKey;
pub(super) use send::Send;
pub(crate) use send::SendKey;
pub(super) use socket::Socket;
pub(crate) use socket::SocketKey;
pub(super) use token::Token;
use waiter::wait;
