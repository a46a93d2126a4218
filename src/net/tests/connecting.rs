//! Connections that this core makes.

use socket2::{Domain, SockAddr, Socket, Type};

use super::*;

fn within(longest: Duration) -> crate::rt::DeadlineKind {
    Driver::current().with(|core| core.deadline_kind(longest))
}

async fn connect(address: &SockAddr) -> std::io::Result<Stream> {
    Stream::connect(address, within(PATIENCE)).await
}

/// A Unix listener whose queue is full, so that who connects has to wait.
fn full(path: &std::path::Path) -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let address = SockAddr::unix(path).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut queued = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.connect(&address).is_err() {
            return (listener, queued);
        }
        queued.push(socket);
    }
}

/// A TCP listener whose queue is full: who connects gets no answer.
fn black_hole() -> (Socket, Vec<Socket>, SockAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&anywhere.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if socket.connect_timeout(&address, Duration::from_millis(50)).is_err() {
            return (listener, queued, address);
        }
        queued.push(socket);
    }
}

/// Sends back what the next connection says until it has said all.
fn echo(mut accepted: impl std::io::Read + std::io::Write) {
    let mut said = [0; 5];
    accepted.read_exact(&mut said).unwrap();
    accepted.write_all(&said).unwrap();
}

async fn says_hello(address: &SockAddr) -> Vec<u8> {
    let mut stream = connect(address).await.unwrap();
    send(&mut stream, b"hello").await.unwrap();
    let mut input = Vec::new();
    while receive(&mut stream, &mut input).await.unwrap() > 0 {}
    input
}

#[test]
fn connects_over_both_families_of_tcp() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(host).unwrap();
        let address = SockAddr::from(listener.local_addr().unwrap());
        let echoing = std::thread::spawn(move || echo(listener.accept().unwrap().0));
        let heard = on_executor(move || async move { says_hello(&address).await });
        assert_eq!(heard.unwrap(), b"hello", "{host}");
        echoing.join().unwrap();
    }
}

#[test]
fn connects_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = SockAddr::unix(&path).unwrap();
    let echoing = std::thread::spawn(move || echo(listener.accept().unwrap().0));
    let heard = on_executor(move || async move { says_hello(&address).await });
    assert_eq!(heard.unwrap(), b"hello");
    echoing.join().unwrap();
}

#[test]
fn says_why_it_could_not_connect() {
    let directory = tempfile::tempdir().unwrap();
    let absent = SockAddr::unix(directory.path().join("absent")).unwrap();
    let unbound = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kinds = on_executor(move || async move {
        let mut kinds = Vec::new();
        for address in [SockAddr::from(unbound), absent] {
            kinds.push(connect(&address).await.err().unwrap().kind());
        }
        until(|| Driver::current().with(|core| core.connecting()) == 0).await;
        kinds
    });
    let expected = [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::NotFound];
    assert_eq!(kinds.unwrap(), expected);
}

#[test]
fn gives_up_connecting_when_its_time_is_over() {
    let (_listener, _queued, address) = black_hole();
    let (kind, took) = on_executor(move || async move {
        let began = Instant::now();
        let attempt = Stream::connect(&address, within(Duration::from_millis(50))).await;
        until(|| Driver::current().with(|core| core.outstanding()) <= 2).await;
        assert_eq!(Driver::current().with(|core| core.connecting()), 0);
        (attempt.err().unwrap().kind(), began.elapsed())
    })
    .unwrap();
    assert_eq!(kind, std::io::ErrorKind::TimedOut);
    assert!((Duration::from_millis(50)..PATIENCE).contains(&took), "{took:?}");
}

#[test]
fn an_attempt_that_is_dropped_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let (_unix, _queued, unix) = {
        let (listener, queued) = full(&path);
        (listener, queued, SockAddr::unix(&path).unwrap())
    };
    let (_tcp, _hole, tcp) = black_hole();
    on_executor(move || async move {
        for address in [tcp, unix] {
            let mut attempt = Box::pin(connect(&address));
            poll_fn(|cx| {
                assert!(attempt.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            // So that it has been submitted.
            sleep(Duration::from_millis(5)).await;
            drop(attempt);
            until(|| Driver::current().with(|core| core.connecting()) == 0).await;
        }
        assert_eq!(in_flight(), (0, 0, 0, 0));
    })
    .unwrap();
}

#[test]
fn a_life_ends_in_the_middle_of_connecting() {
    let (_listener, _queued, address) = black_hole();
    let began = Instant::now();
    on_executor(move || async move {
        let attempt = async move {
            let never = connect(&address).await;
            unreachable!("nobody accepts: {:?}", never.err());
        };
        spawn_detached(attempt);
        until(|| Driver::current().with(|core| core.connecting()) == 1).await;
        sleep(Duration::from_millis(5)).await;
    })
    .unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "the ring came to rest");
}

#[test]
fn a_reset_reaches_the_other_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SockAddr::from(listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        let mut accepted = listener.accept().unwrap().0;
        accepted.set_read_timeout(Some(PATIENCE)).unwrap();
        tell.send(()).unwrap();
        accepted.read(&mut [0; 8]).map_err(|error| error.kind())
    });
    on_executor(move || async move {
        let stream = connect(&address).await.unwrap();
        until(|| told.try_recv().is_ok()).await;
        stream.reset();
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
    assert_eq!(serving.join().unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}
