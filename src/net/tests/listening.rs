//! Listening sockets that are shared with somebody who is stuck, or has died.

use super::*;

/// A thread that has armed a multishot accept on the socket and never looks at its ring again, as
/// a worker is whose handler does not yield. It ends when this is dropped.
struct Stuck {
    release: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stuck {
    fn on(socket: &TcpListener) -> Self {
        let socket = socket.try_clone().unwrap();
        let (release, released) = mpsc::channel();
        let (tell, armed) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let driver = Driver::new(&options()).unwrap();
            let _installed = driver.install();
            let listener = Listener::new(socket.into(), Arming::Accept).unwrap();
            let mut accept = Box::pin(listener.accept());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(accept.as_mut().poll(&mut cx).is_pending());
            assert!(driver.park().unwrap(), "the accept is with the kernel");
            tell.send(()).unwrap();
            let _released = released.recv();
        });
        armed.recv_timeout(PATIENCE).unwrap();
        Self { release: Some(release), thread: Some(thread) }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(self.release.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A listening socket as the supervisor binds it.
fn listening() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Connects, sends a byte and waits for it to come back, so many times.
fn ask(address: std::net::SocketAddr, times: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for _ in 0..times {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).expect("somebody serves the connection");
        }
    })
}

async fn accepted(listener: &Listener) -> Stream {
    Stream::new(listener.accept().await.unwrap().expect("not stopped")).unwrap()
}

async fn serve(listener: &Listener, times: usize) {
    for _ in 0..times {
        let mut stream = accepted(listener).await;
        let mut input = Vec::new();
        receive(&mut stream, &mut input).await.unwrap();
        send(&mut stream, &input).await.unwrap();
    }
}

#[test]
fn a_watcher_gets_every_connection_beside_one_that_is_stuck() {
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let _stuck = Stuck::on(&socket);
    let watching = std::thread::spawn(move || {
        run(&options(), move || async move {
            let listener = Listener::new(socket.into(), Arming::Watch).unwrap();
            // Whether what comes is seen before the watch is armed or after it.
            let asking = ask(address, 40);
            serve(&listener, 40).await;
            asking.join().unwrap();
        })
    });
    watching.join().unwrap().unwrap();
}

#[test]
fn a_fresh_arm_makes_good_a_wake_up_that_another_has_eaten() {
    for arming in [Arming::Accept, Arming::Watch] {
        let socket = listening();
        let address = socket.local_addr().unwrap();
        let stuck = Stuck::on(&socket);
        let duplicate = socket.try_clone().unwrap();
        on_executor(move || async move {
            let listener = Listener::new(duplicate.into(), Arming::Accept).unwrap();
            let mut accept = Box::pin(listener.accept());
            poll_fn(|cx| {
                assert!(accept.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            sleep(Duration::from_millis(1)).await;
            // The stuck one was there first, so it is woken, and does nothing.
            let client = TcpStream::connect(address).unwrap();
            let client = client.local_addr().unwrap();
            listener.rearm(arming);
            let fd = accept.await.unwrap().expect("not stopped");
            let stream = Stream::new(fd).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), Some(client));
        })
        .unwrap();
        drop(stuck);
    }
}

#[test]
fn rearming_in_the_middle_of_arrivals_loses_no_connection() {
    const CONNECTIONS: usize = 600;
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let asking = ask(address, CONNECTIONS / 3);
    let more = [ask(address, CONNECTIONS / 3), ask(address, CONNECTIONS / 3)];
    on_executor(move || async move {
        let listener = Rc::new(Listener::new(socket.into(), Arming::Accept).unwrap());
        let rearming = Rc::clone(&listener);
        let done = Rc::new(std::cell::Cell::new(false));
        let over = Rc::clone(&done);
        let turning = crate::rt::spawn_local(async move {
            let armings = [Arming::Watch, Arming::Watch, Arming::Accept, Arming::Accept];
            for arming in armings.into_iter().cycle() {
                if over.get() {
                    return;
                }
                rearming.rearm(arming);
                sleep(Duration::from_micros(300)).await;
            }
        });
        serve(&listener, CONNECTIONS).await;
        done.set(true);
        turning.await;
    })
    .unwrap();
    asking.join().unwrap();
    let [second, third] = more;
    second.join().unwrap();
    third.join().unwrap();
}

#[test]
fn a_watcher_lets_others_have_their_turn_in_a_flood_and_misses_nobody() {
    const WAITING: usize = 100;
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let clients: Vec<_> = (0..WAITING).map(|_| TcpStream::connect(address).unwrap()).collect();
    on_executor(move || async move {
        let listener = Listener::new(socket.into(), Arming::Watch).unwrap();
        let turns = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&turns);
        spawn_detached(async move {
            loop {
                counted.set(counted.get() + 1);
                futures_lite::future::yield_now().await;
            }
        });
        let first = listener.accept().await.unwrap();
        let before = turns.get();
        for _ in 1..WAITING {
            listener.accept().await.unwrap().expect("not stopped");
        }
        assert!(turns.get() >= before + WAITING / 32 - 1, "others had their turn in between");
        drop(first);
    })
    .unwrap();
    drop(clients);
}

#[test]
fn a_stopped_watcher_leaves_what_waits_to_the_next() {
    let socket = listening();
    let address = socket.local_addr().unwrap();
    let kept = socket.try_clone().unwrap();
    let _waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    on_executor(move || async move {
        let listener = Listener::new(socket.into(), Arming::Watch).unwrap();
        assert!(listener.accept().await.unwrap().is_some());
        listener.stop();
        assert!(listener.accept().await.unwrap().is_none());
        listener.rearm(Arming::Accept);
        assert!(listener.accept().await.unwrap().is_none(), "stopped is stopped");
    })
    .unwrap();
    kept.accept().unwrap();
    kept.accept().unwrap();
}
