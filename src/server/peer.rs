//! Who is at the other end, in as few bytes as an idle connection can spare.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::message::Peer;
use crate::net::Stream;

/// A [`Peer`] that takes 16 bytes. Most clients speak IPv4, or IPv4 mapped into IPv6.
pub(super) enum CompactPeer {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
    Unix { uid: u32 },
}

impl CompactPeer {
    pub(super) fn of(stream: &Stream) -> io::Result<Self> {
        Ok(match stream.peer_addr()? {
            None => Self::Unix { uid: stream.peer_uid()? },
            Some(SocketAddr::V4(address)) => Self::V4(address),
            Some(SocketAddr::V6(address)) => Self::V6(Box::new(address)),
        })
    }
}

impl From<&CompactPeer> for Peer {
    fn from(peer: &CompactPeer) -> Self {
        match peer {
            CompactPeer::V4(address) => Self::Tcp(SocketAddr::V4(*address)),
            CompactPeer::V6(address) => Self::Tcp(SocketAddr::V6(**address)),
            CompactPeer::Unix { uid } => Self::Unix { uid: *uid },
        }
    }
}
