//! Which loop to run, and the listener it accepts from.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::{epoll, uring};
use crate::failure::{Doing, Failure};
use crate::launch;

const BACKLOG: i32 = 4096;

/// A bare loop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Uring,
    Epoll,
}

impl Kind {
    /// The loop of that name.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        match name {
            "uring" => Some(Kind::Uring),
            "epoll" => Some(Kind::Epoll),
            _ => None,
        }
    }
}

/// Serves on `port` of 127.0.0.1 from `cpu` until the process is killed.
pub(crate) fn serve(kind: Kind, cpu: usize, port: u16) -> Result<(), Failure> {
    launch::pin(cpu)?;
    let listener = listen(port).doing(format!("listening on port {port}"))?;
    match kind {
        Kind::Uring => uring::serve(listener).doing("serving through io_uring"),
        Kind::Epoll => epoll::serve(&listener).doing("serving through epoll"),
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
