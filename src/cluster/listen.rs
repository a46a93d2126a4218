//! The listening sockets, bound before any worker exists and held for the life of the process.
//!
//! A worker that dies takes no connection with it that still waits in a queue: it worked on
//! duplicates, and its successor gets duplicates of the same sockets.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
#[cfg(feature = "cli")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::Address;
use super::share::SocketId;
use crate::sys::process::Process;

/// Connections that may wait in the queue of one socket; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 4096;
/// The first port that needs no privilege, where the kernel does not say.
const UNPRIVILEGED_PORT: u16 = 1024;

/// The sockets of all addresses of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    groups: Vec<Arc<Group>>,
    /// Passed by a service manager, which alone can open others.
    inherited: bool,
}

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Group {
    /// Tells it from any other group of the process.
    serial: u32,
    /// As it was asked for, perhaps with port 0.
    asked: Address,
    address: Address,
    // Before the sockets: as long as they are open, the inode cannot become another file's.
    path: Option<OwnPath>,
    sockets: Vec<OwnedFd>,
}

/// Why an address cannot be listened on. `Display` is one line, with a hint where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there already.
    #[error("cannot listen on {address}: already in use by {holder}")]
    InUse {
        /// The address asked for.
        address: Address,
        /// Such as `pid 42 (nginx)`.
        holder: String,
    },
    /// Somebody does, whom this user may not see.
    #[error(
        "cannot listen on {address}: already in use; \
         hint: `ss -lntxp`, run as root, names the process"
    )]
    InUseUnseen {
        /// The address asked for.
        address: Address,
    },
    /// A port that only root may open.
    #[error(
        "cannot listen on {address}: ports below {first_free} are privileged; \
         hint: use a higher port, or `setcap cap_net_bind_service=+ep PROGRAM`"
    )]
    PrivilegedPort {
        /// The address asked for.
        address: Address,
        /// The first port that needs no privilege.
        first_free: u16,
    },
    /// The permissions of the directory or of the path, or a security module, forbid it.
    #[error(
        "cannot listen on {address}: permission denied; \
         hint: the directory must be writable for this user"
    )]
    PathDenied {
        /// The address asked for.
        address: Address,
    },
    /// No interface has the address.
    #[error(
        "cannot listen on {address}: this machine does not have that address; \
         hint: `ip address` lists them, 0.0.0.0 and [::] are all of them"
    )]
    NotAvailable {
        /// The address asked for.
        address: Address,
    },
    /// The directory of the path does not exist.
    #[error("cannot listen on {address}: its directory does not exist; hint: create it first")]
    NoDirectory {
        /// The address asked for.
        address: Address,
    },
    /// Something else stands at the path, and is left alone.
    #[error(
        "cannot listen on {address}: a file that is not a socket stands there; \
         hint: choose another path or move the file away"
    )]
    NotASocket {
        /// The address asked for.
        address: Address,
    },
    /// The service manager passed sockets, but none that listens there.
    #[error(
        "cannot listen on {address}: the service manager passed no socket for it; \
         it passed: {passed}; hint: the socket unit and the app must name the same address"
    )]
    NotPassed {
        /// The address asked for.
        address: Address,
        /// What it passed.
        passed: String,
    },
    /// The service manager passed sockets, and any port of its choice was asked for.
    #[error(
        "cannot listen on {address}: the service manager passed the sockets, and port 0 is none \
         of theirs; it passed: {passed}; hint: name the port"
    )]
    PassedNoPort {
        /// The address asked for.
        address: Address,
        /// What it passed.
        passed: String,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address asked for.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Listeners {
    /// Binds all addresses, or none: after an error no socket is open and no path left behind.
    ///
    /// A TCP address gets `sockets` of them, a Unix one a single one. Their number is for good.
    pub(crate) fn bind(addresses: &[Address], sockets: usize) -> Result<Self, BindError> {
        let groups = addresses.iter().map(|address| Group::bind(address, sockets).map(Arc::new));
        Ok(Self { groups: groups.collect::<Result<_, _>>()?, inherited: false })
    }

    /// The sockets of these addresses: those that are held already, and new ones for the others. A
    /// socket closes when no listeners have it any more.
    pub(crate) fn renewed(&self, addresses: &[Address], sockets: usize) -> Result<Self, BindError> {
        let mut left = self.groups.clone();
        let groups = addresses.iter().map(|address| {
            // One that asked for any port is known by the one that it got as well.
            let is =
                |group: &Arc<Group>| group.asked.is_at(address) || group.address.is_at(address);
            if let Some(held) = left.iter().position(is) {
                return Ok(left.swap_remove(held));
            }
            self.may_bind(address)?;
            Group::bind(address, sockets).map(Arc::new)
        });
        Ok(Self { groups: groups.collect::<Result<_, _>>()?, inherited: self.inherited })
    }

    /// Gives paths that are held the permissions that are now asked for.
    pub(super) fn set_modes(&self, addresses: &[Address]) -> io::Result<()> {
        for address in addresses {
            let own = |group: &&Arc<Group>| group.path.is_some() && group.asked.is_at(address);
            if let Address::Unix { path, mode: Some(mode) } = address
                && self.groups.iter().any(|group| own(&group))
            {
                fs::set_permissions(path, Permissions::from_mode(*mode))?;
            }
        }
        Ok(())
    }

    /// Whether an address that these have not may be bound: not beside sockets that were passed.
    pub(super) fn may_bind(&self, address: &Address) -> Result<(), BindError> {
        if !self.inherited {
            return Ok(());
        }
        let passed: Vec<_> = self.groups.iter().map(|group| group.address.to_string()).collect();
        Err(BindError::NotPassed { address: address.clone(), passed: passed.join(", ") })
    }

    /// What a service manager passed, which it goes on to hold: nothing is bound, and no path is
    /// removed at the end.
    pub(super) fn inherited(groups: Vec<Group>) -> Self {
        Self { groups: groups.into_iter().map(Arc::new).collect(), inherited: true }
    }

    /// The sockets of each address, in the order in which the addresses were given.
    pub(crate) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// The names of all sockets, by address. A renewal keeps the names of those that stay.
    pub(super) fn ids(&self) -> Vec<Vec<SocketId>> {
        self.groups.iter().map(|group| group.ids()).collect()
    }

    #[cfg(test)]
    /// A descriptor of each socket that `worker` of `workers` accepts from.
    pub(super) fn duplicates_for(&self, worker: usize, workers: usize) -> io::Result<Vec<OwnedFd>> {
        let share = super::share::share_of(worker, workers, &self.ids());
        share.into_iter().map(|socket| self.duplicate(socket)).collect()
    }

    /// Of sockets that somebody else held meanwhile, in the order of these addresses.
    ///
    /// # Errors
    /// One of the addresses has none.
    #[cfg(feature = "cli")]
    pub(crate) fn regained(
        addresses: &[Address],
        mut sockets: Vec<(Address, OwnedFd)>,
    ) -> io::Result<Self> {
        let group = |address: &Address| {
            let own = sockets.extract_if(.., |(other, _)| other == address);
            let own: Vec<_> = own.map(|(_, socket)| socket).collect();
            if own.is_empty() {
                return Err(io::Error::other(format!("there is no socket for {address}")));
            }
            Group::inherited(address.clone(), own).map(Arc::new)
        };
        let groups = addresses.iter().map(group).collect::<io::Result<_>>()?;
        Ok(Self { groups, inherited: false })
    }

    /// These and those.
    #[cfg(feature = "cli")]
    pub(crate) fn joined(&self, others: &Self) -> Self {
        let groups = self.groups.iter().chain(&others.groups).cloned().collect();
        Self { groups, inherited: self.inherited }
    }

    /// Where they listen, in the order in which they were asked for.
    #[cfg(feature = "cli")]
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.groups.iter().map(|group| group.address.clone()).collect()
    }

    /// All descriptors, address by address.
    #[cfg(feature = "cli")]
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.groups.iter().flat_map(|group| group.sockets.iter().map(AsFd::as_fd)).collect()
    }

    /// Descriptors of all sockets, each with its address.
    pub(super) fn duplicates(&self) -> io::Result<Vec<(Address, OwnedFd)>> {
        let sockets = self.groups.iter().flat_map(|group| {
            group.sockets.iter().map(|socket| Ok((group.address.clone(), socket.try_clone()?)))
        });
        sockets.collect()
    }

    /// A descriptor of a socket, for a worker to accept from.
    pub(super) fn duplicate(&self, socket: SocketId) -> io::Result<OwnedFd> {
        let group = self.groups.iter().find(|group| group.serial == socket.group);
        let held = group.and_then(|group| group.sockets.get(socket.index as usize));
        held.ok_or(io::ErrorKind::NotFound)?.try_clone()
    }
}

/// A number that no other group of the process has.
fn serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Group {
    fn bind(address: &Address, sockets: usize) -> Result<Self, BindError> {
        match address {
            Address::Tcp(tcp) => bind_tcp(*tcp, sockets).map_err(|error| tcp_error(*tcp, error)),
            Address::Unix { path, mode } => {
                clear_stale(address, path)?;
                bind_unix(path, *mode).map_err(|error| unix_error(address, path, error))
            }
        }
    }

    /// Of sockets that listen at the address already; set up like our own, as far as it still can
    /// be.
    pub(super) fn inherited(address: Address, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        for socket in sockets.iter().map(SockRef::from) {
            socket.set_nonblocking(true)?;
            if let Address::Tcp(_) = address {
                socket.set_tcp_nodelay(true)?;
            }
        }
        Ok(Self { serial: serial(), asked: address.clone(), address, path: None, sockets })
    }

    fn ids(&self) -> Vec<SocketId> {
        let group = self.serial;
        (0..).map(|index| SocketId { group, index }).take(self.sockets.len()).collect()
    }

    /// Where this group listens: the port that the kernel chose, where 0 was asked for.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The descriptors, in the order of their index.
    #[cfg(test)]
    pub(crate) fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }
}

/// The first socket binds and listens without `SO_REUSEPORT`; only then its siblings join it.
///
/// So a second corelane is refused instead of silently taking its share of the connections. Were
/// the option set before `listen`, two that start at once could both get through, because bound
/// sockets with `SO_REUSEADDR` bear one another until the first listens. Another program of the
/// same user that asks for `SO_REUSEPORT` itself gets in all the same: the kernel cannot refuse it.
fn bind_tcp(asked: SocketAddr, count: usize) -> io::Result<Group> {
    let first = tcp_socket(asked)?;
    first.bind(&asked.into())?;
    first.listen(BACKLOG)?;
    if count > 1 {
        first.set_reuse_port(true)?;
    }
    let actual = first.local_addr()?;
    let mut sockets = vec![OwnedFd::from(first)];
    while sockets.len() < count {
        let sibling = tcp_socket(asked)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&actual)?;
        sibling.listen(BACKLOG)?;
        sockets.push(sibling.into());
    }
    let address = Address::Tcp(actual.as_socket().unwrap_or(asked));
    Ok(Group { serial: serial(), asked: Address::Tcp(asked), address, path: None, sockets })
}

/// Non-blocking, for a successor that calls `accept4` itself; an accept in a ring waits anyway.
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the connections of its predecessor in TIME_WAIT.
    socket.set_reuse_address(true)?;
    // What is accepted inherits it.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Group> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file gets the socket's own mode, less the umask: at no time more than was asked for.
    if let Some(mode) = mode {
        fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let own = OwnPath::of(path)?;
    // Connecting is refused until `listen`, so nobody comes before the mode is whole.
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    let address = Address::Unix { path: path.to_owned(), mode };
    let (asked, sockets) = (address.clone(), vec![socket.into()]);
    Ok(Group { serial: serial(), asked, address, path: Some(own), sockets })
}

/// Removes what a dead process left at the path, and nothing else.
fn clear_stale(address: &Address, path: &Path) -> Result<(), BindError> {
    let failed = |error| unix_error(address, path, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket { address: address.clone() });
        }
        Ok(_) => {}
    }
    match connect(path).map_err(|error| Errno::from_io_error(&error)) {
        Err(Some(Errno::CONNREFUSED)) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
        Err(Some(Errno::NOENT)) => Ok(()),
        Err(Some(Errno::ACCESS)) => Err(failed(Errno::ACCESS.into())),
        // Also with a full queue (EAGAIN), or a socket of another type (EPROTOTYPE).
        _ => Err(failed(Errno::ADDRINUSE.into())),
    }
}

/// Connects without waiting for room in a queue.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// A socket's file, removed with its owner unless another file has taken its place.
#[derive(Debug)]
struct OwnPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnPath {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: file.dev(), inode: file.ino() })
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let Ok(file) = fs::symlink_metadata(&self.path) else { return };
        if (file.dev(), file.ino()) == (self.device, self.inode) {
            // What stays is stale, and the next start removes it.
            let _left = fs::remove_file(&self.path);
        }
    }
}

fn tcp_error(asked: SocketAddr, source: io::Error) -> BindError {
    let address = Address::Tcp(asked);
    match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => in_use(address, Process::listening_on(asked)),
        // Of a port that is free for all, a security module says this.
        Some(Errno::ACCESS) if asked.port() < unprivileged_port() => {
            BindError::PrivilegedPort { address, first_free: unprivileged_port() }
        }
        Some(Errno::ADDRNOTAVAIL) => BindError::NotAvailable { address },
        _ => BindError::Io { address, source },
    }
}

fn unix_error(address: &Address, path: &Path, source: io::Error) -> BindError {
    let address = address.clone();
    match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => in_use(address, Process::listening_at(path)),
        Some(Errno::ACCESS | Errno::PERM) => BindError::PathDenied { address },
        Some(Errno::NOENT | Errno::NOTDIR) => BindError::NoDirectory { address },
        _ => BindError::Io { address, source },
    }
}

fn in_use(address: Address, holder: Option<Process>) -> BindError {
    match holder {
        Some(holder) => BindError::InUse { address, holder: holder.to_string() },
        None => BindError::InUseUnseen { address },
    }
}

fn unprivileged_port() -> u16 {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    first.ok().and_then(|first| first.trim().parse().ok()).unwrap_or(UNPRIVILEGED_PORT)
}

#[cfg(test)]
mod tests;
