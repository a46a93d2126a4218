//! The other side of `NOTIFY_SOCKET`: what programs say of themselves.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The longest message that is read; what is longer is cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A socket that programs of any user can write to.
#[derive(Debug)]
pub(crate) struct Hearing {
    socket: UnixDatagram,
    name: String,
}

/// What a process has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Who, by the kernel's word.
    pub pid: u32,
    /// `NAME=value`, a line each.
    pub text: String,
}

/// Whether anybody hears what is said to this name in the abstract namespace.
pub(crate) fn is_heard(name: &str) -> bool {
    let heard = SocketAddr::from_abstract_name(name)
        .and_then(|address| UnixDatagram::unbound()?.connect_addr(&address));
    heard.is_ok()
}

impl Hearing {
    /// Hears what is said to this name in the abstract namespace, which has no permissions: who
    /// says something is known, and whom to believe is the caller's business.
    ///
    /// # Errors
    /// The name is taken.
    pub(crate) fn at(name: &str) -> io::Result<Self> {
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        socket.set_nonblocking(true)?;
        set_socket_passcred(&socket, true)?;
        Ok(Self { socket, name: format!("@{name}") })
    }

    /// What to put into `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next message, if one has come.
    pub(crate) fn hear(&self) -> Option<Heard> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let received = recvmsg(&self.socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC);
            let length = match received {
                Ok(received) => received.bytes,
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            // A descriptor that comes along is closed.
            let credentials = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials),
                _ => None,
            });
            if let Some(credentials) = credentials {
                let pid = credentials.pid.as_raw_nonzero().get().unsigned_abs();
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                return Some(Heard { pid, text });
            }
        }
    }
}

impl AsFd for Hearing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_who_says_what() {
        let name = format!("corelane-hearing-{}", std::process::id());
        let hearing = Hearing::at(&name).unwrap();
        assert_eq!(hearing.name(), format!("@{name}"));
        assert!(Hearing::at(&name).is_err(), "it is taken");
        assert_eq!(hearing.hear(), None);
        let speaker = UnixDatagram::unbound().unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        speaker.send_to_addr(b"READY=1\nSTATUS=fine", &address).unwrap();
        let heard = Heard { pid: std::process::id(), text: "READY=1\nSTATUS=fine".to_owned() };
        assert_eq!(hearing.hear(), Some(heard));
        assert_eq!(hearing.hear(), None);
    }
}
