//! Which process holds a listening socket: best effort, for the message that a port is taken.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lines read of one of the kernel's socket tables; it lists listening sockets first.
const TABLE_LINES_MAX: usize = 65_536;
/// Bytes read of one line of such a table.
const LINE_BYTES_MAX: u64 = 4096;
/// Descriptors looked at, over all processes, before the search is given up.
const DESCRIPTORS_MAX: usize = 200_000;
/// The state of a listening socket in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";
/// The flag of a listening socket in `/proc/net/unix`.
const UNIX_LISTEN: u32 = 0x0001_0000;

/// A process that runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number in this process's namespace.
    pub(crate) pid: u32,
    /// The name that `ps` shows, without control characters.
    pub(crate) name: String,
}

impl Process {
    /// The process that listens where `address` would, if this user may see it.
    pub(crate) fn listening_on(address: SocketAddr) -> Option<Self> {
        let listens = |line: &str| {
            let (local, inode) = tcp_listener(line)?;
            collides(address, local).then_some(inode)
        };
        // A dual-stack socket on [::] takes an IPv4 port too, but stands in the other table.
        let tables: &[&str] = match address {
            SocketAddr::V4(_) => &["/proc/net/tcp", "/proc/net/tcp6"],
            SocketAddr::V6(_) => &["/proc/net/tcp6"],
        };
        let inodes = tables.iter().map(|table| inodes(table, listens));
        holder(&inodes.into_iter().find(|found| !found.is_empty())?)
    }

    /// The process that listens at the Unix path, if this user may see it.
    pub(crate) fn listening_at(path: &Path) -> Option<Self> {
        holder(&inodes("/proc/net/unix", |line| {
            let (at, inode) = unix_listener(line)?;
            (at.as_bytes() == path.as_os_str().as_bytes()).then_some(inode)
        }))
    }

    fn of(pid: u32) -> Self {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = comm.trim_end().chars().filter(|c| !c.is_control()).collect();
        Self { pid, name }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            pid if pid == std::process::id() => write!(f, "this process, pid {pid}"),
            pid if self.name.is_empty() => write!(f, "pid {pid}"),
            pid => write!(f, "pid {pid} ({})", self.name),
        }
    }
}

/// The inodes of the sockets whose lines of a table `wanted` picks.
fn inodes(table: &str, wanted: impl Fn(&str) -> Option<u64>) -> Vec<u64> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    let mut found = Vec::new();
    for _ in 0..TABLE_LINES_MAX {
        line.clear();
        match file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => found.extend(std::str::from_utf8(&line).ok().and_then(&wanted)),
            Ok(0) | Err(_) => break,
        }
    }
    found
}

/// The local address and the inode of a listening socket in a line of `/proc/net/tcp` or `tcp6`.
fn tcp_listener(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    if state != TCP_LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    Some((SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?), inode.parse().ok()?))
}

/// An address as the kernel prints it: 32-bit words in the machine's byte order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// Whether a listener on `held` keeps another off `wanted`.
fn collides(wanted: SocketAddr, held: SocketAddr) -> bool {
    let (a, b) = (wanted.ip().to_canonical(), held.ip());
    let overlap = match (a, b) {
        (IpAddr::V4(_), IpAddr::V6(b)) => b.is_unspecified(),
        _ if a.is_ipv4() == b.is_ipv4() => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => false,
    };
    wanted.port() == held.port() && overlap
}

/// The path and the inode of a listening socket in a line of `/proc/net/unix`.
fn unix_listener(line: &str) -> Option<(&str, u64)> {
    // Num RefCount Protocol Flags Type St Inode Path; the path may hold spaces.
    let mut fields = line.trim_end_matches('\n').splitn(4, ' ').skip(3);
    let rest = fields.next()?;
    let (flags, rest) = rest.split_once(' ')?;
    let (_type, rest) = rest.split_once(' ')?;
    let (_state, rest) = rest.split_once(' ')?;
    let (inode, path) = rest.trim_start().split_once(' ')?;
    let listens = u32::from_str_radix(flags, 16).ok()? & UNIX_LISTEN != 0;
    listens.then_some((path, inode.parse().ok()?))
}

/// The first process that has one of the sockets open.
fn holder(inodes: &[u64]) -> Option<Process> {
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let links = pids.flat_map(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.map(move |descriptor| (pid, fs::read_link(descriptor.path())))
    });
    let (pid, _) = links.take(DESCRIPTORS_MAX).find(|(_, link)| {
        let link = link.as_deref().ok().and_then(Path::to_str);
        link.is_some_and(|link| wanted.iter().any(|wanted| wanted == link))
    })?;
    Some(Process::of(pid))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn names_the_process_that_listens_on_a_port() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let found = Process::listening_on(address).unwrap();
            assert_eq!(found.pid, std::process::id(), "{address}");
            assert!(!found.name.is_empty());
            drop(listener);
            assert_eq!(Process::listening_on(address), None);
        }
    }

    #[test]
    fn a_dual_stack_listener_holds_the_ipv4_port() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = Process::listening_on(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        assert_eq!(found.pid, std::process::id());
    }

    #[test]
    fn names_the_process_that_listens_at_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("with space.sock");
        assert_eq!(Process::listening_at(&path), None);
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(Process::listening_at(&path).unwrap().pid, std::process::id());
    }

    #[test]
    fn addresses_collide_when_one_covers_the_other() {
        for (wanted, held, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("127.0.0.1:80", "[::1]:80", false),
            ("[::1]:80", "[::]:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
        ] {
            let (wanted, held) = (wanted.parse().unwrap(), held.parse().unwrap());
            assert_eq!(collides(wanted, held), expected, "{wanted} {held}");
        }
    }

    #[test]
    fn lines_that_are_no_listener_are_skipped() {
        for line in [
            "",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when",
            "   0: 0100007F:0BB8 00000000:0000 01 0:0 00:0 0 0 0 4242 1",
            "   0: 0100007F 00000000:0000 0A 0:0 00:0 0 0 0 4242 1",
        ] {
            assert_eq!(tcp_listener(line), None, "{line}");
            assert_eq!(unix_listener(line), None, "{line}");
        }
    }

    #[test]
    fn a_process_says_who_it_is() {
        let own = Process { pid: std::process::id(), name: "x".into() };
        assert_eq!(own.to_string(), format!("this process, pid {}", own.pid));
        let other = Process { pid: 1, name: "init".into() };
        assert_eq!(other.to_string(), "pid 1 (init)");
    }
}
