use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;

/// Binds a free port with `sockets` sockets, and says which it is.
fn loopback(sockets: usize) -> (Listeners, SocketAddr) {
    let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()], sockets).unwrap();
    let address = tcp(&listeners.groups()[0]);
    (listeners, address)
}

fn tcp(group: &Group) -> SocketAddr {
    match group.address() {
        Address::Tcp(address) => *address,
        Address::Unix { .. } => panic!("a Unix address"),
    }
}

fn unix(path: &Path, mode: Option<u32>) -> Address {
    Address::Unix { path: path.to_owned(), mode }
}

/// The listening sockets of IPv4 on a port, as the kernel counts them.
fn listening(port: u16) -> usize {
    let suffix = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    fields.filter(|line| line[1].ends_with(&suffix) && line[3] == "0A").count()
}

/// How many connections wait in the queue of a listener.
fn drain(socket: &OwnedFd) -> usize {
    let listener = TcpListener::from(socket.try_clone().unwrap());
    std::iter::from_fn(|| listener.accept().ok()).count()
}

#[test]
fn an_address_has_the_number_of_sockets_asked_for() {
    for sockets in [1, 2, 7] {
        let (listeners, address) = loopback(sockets);
        assert_ne!(address.port(), 0);
        assert_eq!(listeners.groups()[0].sockets().len(), sockets);
        assert_eq!(listening(address.port()), sockets);
    }
}

#[test]
fn the_kernel_spreads_connections_over_all_sockets() {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
        let listeners = Listeners::bind(&[address.parse().unwrap()], 3).unwrap();
        let group = &listeners.groups()[0];
        let clients: Vec<_> = (0..96).map(|_| TcpStream::connect(tcp(group)).unwrap()).collect();
        let queued: Vec<_> = group.sockets().iter().map(drain).collect();
        assert_eq!(queued.iter().sum::<usize>(), clients.len());
        assert!(queued.iter().all(|queue| *queue > 0), "{address}: {queued:?}");
    }
}

#[test]
fn sockets_do_not_block_are_closed_on_exec_and_pass_no_delay_on() {
    let (listeners, address) = loopback(2);
    let _client = TcpStream::connect(address).unwrap();
    let mut accepted = 0;
    for socket in listeners.duplicates_for(0, 1).unwrap() {
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
        if let Ok((stream, _)) = TcpListener::from(socket).accept() {
            assert!(stream.nodelay().unwrap());
            accepted += 1;
        }
    }
    assert_eq!(accepted, 1);
}

#[test]
fn a_second_corelane_is_refused_and_told_who_holds_the_port() {
    for (sockets, others) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let (_listeners, address) = loopback(sockets);
        let refused = Listeners::bind(&[Address::Tcp(address)], others).unwrap_err();
        let pid = std::process::id();
        let expected =
            format!("cannot listen on {address}: already in use by this process, pid {pid}");
        assert_eq!(refused.to_string(), expected);
        assert_eq!(listening(address.port()), sockets);
    }
}

#[test]
fn of_two_that_start_at_once_one_is_refused() {
    // Bound, but not listening yet: what another corelane looks like in the middle of its start.
    let other = tcp_socket("127.0.0.1:0".parse().unwrap()).unwrap();
    other.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = other.local_addr().unwrap().as_socket().unwrap();
    let listeners = Listeners::bind(&[Address::Tcp(address)], 2).unwrap();
    let refused = other.listen(1).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    drop(listeners);
    other.listen(1).unwrap();
    let refused = Listeners::bind(&[Address::Tcp(address)], 2).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
}

#[test]
fn a_plain_socket_is_refused_the_port() {
    let (_listeners, address) = loopback(2);
    assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_port_that_a_reuse_port_group_holds_is_refused() {
    let other = tcp_socket("127.0.0.1:0".parse().unwrap()).unwrap();
    other.set_reuse_port(true).unwrap();
    other.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    other.listen(1).unwrap();
    let address = other.local_addr().unwrap().as_socket().unwrap();
    let refused = Listeners::bind(&[Address::Tcp(address)], 2).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
}

#[test]
fn a_restart_need_not_wait_for_old_connections() {
    let (listeners, address) = loopback(2);
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = listeners.groups()[0].sockets().iter().map(drain).sum::<usize>();
    assert_eq!(accepted, 1);
    // The server's side closed first, and is now on its way to TIME_WAIT.
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    drop(listeners);
    assert_eq!(tcp(&Listeners::bind(&[Address::Tcp(address)], 2).unwrap().groups()[0]), address);
}

#[test]
fn ipv6_does_not_take_the_ipv4_port() {
    let listeners = Listeners::bind(&["[::]:0".parse().unwrap()], 2).unwrap();
    for socket in listeners.duplicates_for(0, 1).unwrap() {
        assert!(Socket::from(socket).only_v6().unwrap());
    }
}

#[test]
fn a_worker_gets_its_sockets_of_every_address() {
    let dir = tempfile::tempdir().unwrap();
    let addresses = ["127.0.0.1:0".parse().unwrap(), unix(&dir.path().join("s"), None)];
    let listeners = Listeners::bind(&addresses, 4).unwrap();
    for (worker, workers, count) in [(0, 1, 5), (0, 2, 3), (1, 2, 3), (5, 6, 2)] {
        assert_eq!(listeners.duplicates_for(worker, workers).unwrap().len(), count);
    }
}

#[test]
fn an_error_leaves_nothing_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [Address::Tcp(free), unix(&path, None), taken.local_addr().unwrap().into()];
    let refused = Listeners::bind(&addresses, 2).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
    assert!(!path.exists());
    assert_eq!(listening(free.port()), 0);
}

#[test]
fn a_stale_path_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listeners = Listeners::bind(&[unix(&path, None)], 4).unwrap();
    assert_eq!(listeners.groups()[0].sockets().len(), 1);
    UnixStream::connect(&path).unwrap();
    drop(listeners);
    assert!(!path.exists());
}

#[test]
fn a_path_in_use_or_of_another_kind_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path().join("served.sock");
    let _listener = UnixListener::bind(&served).unwrap();
    let refused = Listeners::bind(&[unix(&served, None)], 1).unwrap_err();
    assert!(refused.to_string().contains("already in use by this process"), "{refused}");
    UnixStream::connect(&served).unwrap();

    let datagram = dir.path().join("datagram.sock");
    let _datagram = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    let refused = Listeners::bind(&[unix(&datagram, None)], 1).unwrap_err();
    assert!(matches!(refused, BindError::InUseUnseen { .. }), "{refused}");

    let file = dir.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    let refused = Listeners::bind(&[unix(&file, None)], 1).unwrap_err();
    assert!(matches!(refused, BindError::NotASocket { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_path_whose_queue_is_full_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("busy.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let refused = Listeners::bind(&[unix(&path, None)], 1).unwrap_err();
    assert!(matches!(refused, BindError::InUse { .. }), "{refused}");
}

#[test]
fn a_path_that_became_somebody_elses_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listeners = Listeners::bind(&[unix(&path, None)], 1).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(listeners);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn the_mode_of_a_path_is_the_one_asked_for_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let path = dir.path().join(format!("{mode:o}.sock"));
        let _listeners = Listeners::bind(&[unix(&path, Some(mode))], 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_socket_bound_with_a_narrow_mode_never_had_a_wider_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("narrow.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    fchmod(&socket, Mode::from_raw_mode(0o600)).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn each_refusal_says_what_to_do() {
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let free: SocketAddr = "192.0.2.1:65535".parse().unwrap();
    let path = Path::new("/nowhere/app.sock");
    let at = unix(path, None);
    let os = |errno: Errno| io::Error::from(errno);
    for (error, expected) in [
        (tcp_error(address, os(Errno::ADDRINUSE)), "already in use; hint: `ss"),
        (tcp_error(address, os(Errno::ACCESS)), "are privileged; hint: use a higher port"),
        (tcp_error(free, os(Errno::ACCESS)), "Permission denied"),
        (tcp_error(address, os(Errno::ADDRNOTAVAIL)), "does not have that address; hint:"),
        (tcp_error(address, os(Errno::MFILE)), "Too many open files"),
        (unix_error(&at, path, os(Errno::ADDRINUSE)), "already in use; hint: `ss"),
        (unix_error(&at, path, os(Errno::ACCESS)), "permission denied; hint:"),
        (unix_error(&at, path, os(Errno::NOENT)), "does not exist; hint: create it first"),
        (unix_error(&at, path, os(Errno::ROFS)), "Read-only file system"),
    ] {
        let text = error.to_string();
        assert!(text.starts_with("cannot listen on ") && text.contains(expected), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn addresses_of_other_machines_and_missing_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/app.sock");
    for address in ["192.0.2.1:0".parse().unwrap(), unix(&path, None)] {
        let refused = Listeners::bind(std::slice::from_ref(&address), 2).unwrap_err();
        assert!(!matches!(refused, BindError::Io { .. }), "{refused}");
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
    }
}
