use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::fs::{OFlags, fcntl_getfl};
use socket2::{Domain, Socket, Type};

use super::*;

fn passed(socket: impl Into<OwnedFd>, name: &str) -> Passed {
    let socket = socket.into();
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Passed { label: Label { number: socket.as_raw_fd(), name }, socket }
}

fn inherited(sockets: Vec<Passed>) -> Inherited {
    Inherited::new(sockets)
}

fn tcp(address: &str) -> (TcpListener, Address) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

/// Several listening sockets of one free address.
fn siblings(count: usize) -> (Vec<Socket>, Address) {
    let mut at: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let bind = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&at.into()).unwrap();
        socket.listen(16).unwrap();
        at = socket.local_addr().unwrap().as_socket().unwrap();
        socket
    };
    let sockets = (0..count).map(bind).collect();
    (sockets, at.into())
}

fn counts(groups: Option<Vec<Group>>) -> Vec<usize> {
    groups.unwrap().iter().map(|group| group.sockets().len()).collect()
}

#[test]
fn where_nothing_was_passed_a_cluster_binds() {
    assert!(inherited(vec![]).take(&["127.0.0.1:1".parse().unwrap()], "app").unwrap().is_none());
    inherited(vec![]).nothing_left().unwrap();
}

#[test]
fn each_address_gets_the_socket_that_listens_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let unix = Address::Unix { path: path.clone(), mode: Some(0o600) };
    let mut sockets = vec![passed(UnixListener::bind(&path).unwrap(), "")];
    let mut addresses = vec![unix];
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let (listener, address) = tcp(address);
        sockets.push(passed(listener, "whatever"));
        addresses.insert(0, address);
    }
    let mut inherited = inherited(sockets);
    let groups = inherited.take(&addresses, "app").unwrap().unwrap();
    inherited.nothing_left().unwrap();
    for (group, address) in groups.iter().zip(&addresses) {
        assert_eq!(group.address(), address);
        let place = Place::of(SockRef::from(&group.sockets()[0]).local_addr());
        assert!(place.is(address), "{place} for {address}");
    }
    drop(groups);
    assert!(path.exists(), "the path is its manager's");
}

#[test]
fn all_interfaces_match_only_all_interfaces() {
    for (own, asked, same) in [
        ("0.0.0.0:80", "0.0.0.0:80", true),
        ("0.0.0.0:80", "127.0.0.1:80", false),
        ("127.0.0.1:80", "0.0.0.0:80", false),
        ("[::]:80", "0.0.0.0:80", false),
        ("[::]:80", "[::]:80", true),
        ("[::]:80", "[::1]:80", false),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("127.0.0.1:80", "127.0.0.1:0", false),
        ("[fe80::1%2]:80", "[fe80::1%3]:80", false),
    ] {
        let place = Place::Tcp(own.parse().unwrap());
        assert_eq!(place.is(&asked.parse().unwrap()), same, "{own} {asked}");
    }
}

#[test]
fn several_sockets_of_one_address_are_one_group() {
    let (sockets, address) = siblings(3);
    let mut inherited = inherited(sockets.into_iter().map(|it| passed(it, "")).collect());
    assert_eq!(counts(inherited.take(&[address], "app").unwrap()), [3]);
}

#[test]
fn names_decide_between_clusters_with_one_address() {
    let (sockets, address) = siblings(3);
    let addresses = [address];
    let named = sockets.into_iter().zip(["shop", "admin", "shop"]);
    let mut inherited = inherited(named.map(|(socket, name)| passed(socket, name)).collect());
    assert_eq!(counts(inherited.take(&addresses, "admin").unwrap()), [1]);
    let left = inherited.nothing_left().unwrap_err().to_string();
    assert!(left.contains("(shop)"), "{left}");
    assert_eq!(counts(inherited.take(&addresses, "shop").unwrap()), [2]);
    inherited.nothing_left().unwrap();
    let refused = inherited.take(&addresses, "shop").unwrap_err().to_string();
    assert!(refused.contains("passed no socket for it"), "{refused}");
    assert_eq!(refused.matches(", taken)").count(), 3, "{refused}");
}

#[test]
fn an_address_that_was_not_passed_is_refused_and_takes_nothing() {
    let (listener, address) = tcp("127.0.0.1:0");
    let descriptor = listener.as_raw_fd();
    let mut inherited = inherited(vec![passed(listener, "web")]);
    let missing: Address = "unix:/run/none.sock".parse().unwrap();
    for (wanted, expected) in [
        (missing, "unix:/run/none.sock: the service manager passed no socket for it"),
        ("127.0.0.1:0".parse().unwrap(), "127.0.0.1:0: the service manager passed the sockets"),
        (address.clone(), "the service manager passed no socket for it"),
    ] {
        let refused = inherited.take(&[address.clone(), wanted], "app").unwrap_err().to_string();
        let passed = format!("it passed: {address} (descriptor {descriptor} (web))");
        for part in ["cannot listen on ", expected, &passed, "; hint: "] {
            assert!(refused.contains(part), "{part:?} in {refused}");
        }
    }
    assert_eq!(counts(inherited.take(&[address], "app").unwrap()), [1]);
}

#[test]
fn a_socket_that_nobody_lists_is_refused() {
    let name = format!("corelane-test-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let (listener, address) = tcp("127.0.0.1:0");
    let sockets =
        vec![passed(listener, ""), passed(UnixListener::bind_addr(&name).unwrap(), "hidden")];
    let mut inherited = inherited(sockets);
    inherited.take(&[address], "app").unwrap();
    let left = inherited.nothing_left().unwrap_err().to_string();
    assert!(left.contains("unix:@corelane-test-") && left.contains("; hint: "), "{left}");
    assert!(!left.contains("127.0.0.1"), "{left}");
}

#[test]
fn inherited_sockets_do_not_block_and_pass_no_delay_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let (listener, address) = tcp("127.0.0.1:0");
    let Address::Tcp(at) = address else { panic!("{address}") };
    let unix = UnixListener::bind(&path).unwrap();
    let held = listener.try_clone().unwrap();
    let mut inherited = inherited(vec![passed(listener, ""), passed(unix, "")]);
    let addresses = [address, Address::Unix { path: path.clone(), mode: None }];
    let listeners = Listeners::inherited(inherited.take(&addresses, "app").unwrap().unwrap());
    let sockets = listeners.duplicates_for(3, 4).unwrap();
    assert_eq!(sockets.len(), 2, "every worker has both");
    for socket in &sockets {
        assert!(fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK));
    }
    let _client = (TcpStream::connect(at).unwrap(), UnixStream::connect(&path).unwrap());
    drop((sockets, listeners));
    let (stream, _) = held.accept().unwrap();
    assert!(stream.nodelay().unwrap());
}
