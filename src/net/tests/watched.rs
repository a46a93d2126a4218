//! What other threads see of a core, and do to it.

use std::sync::Arc;

use super::*;
use crate::rt::Registry;
use crate::stats::Pulse;

/// Polls from outside the executor.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// What blocks a core until it is told to go on, and says when it began.
struct Blocking {
    began: mpsc::Sender<Instant>,
    go_on: mpsc::Receiver<()>,
}

impl Blocking {
    fn block(self) {
        self.began.send(Instant::now()).unwrap();
        self.go_on.recv_timeout(PATIENCE).unwrap();
    }
}

fn check_busy_since(pulse: &Pulse, began: Instant) {
    let slack = Duration::from_millis(50);
    assert_ne!(pulse.reading(), 0, "it does not sleep");
    let now = Instant::now();
    let (busy, blocked) = (pulse.busy_for(now), now - began);
    assert!(busy + slack > blocked && busy < blocked + slack, "{busy:?} {blocked:?}");
    let reading = pulse.reading();
    eventually("it grows", || pulse.busy_for(Instant::now()) > Duration::from_millis(60));
    assert_eq!(pulse.reading(), reading, "a core that is stuck does not move");
}

#[test]
fn a_pulse_says_since_when_a_core_is_busy_and_that_it_sleeps() {
    let options = options();
    let (pulse, stats) = (Arc::clone(&options.pulse), Arc::clone(&options.stats));
    let ((began, begins), (go_on, going_on)) = (mpsc::channel(), mpsc::channel());
    let (sender, orders) = mailbox::<Blocking>(1);
    let core = std::thread::spawn(move || {
        run(&options, move || async move {
            orders.recv().await.block();
            let again = orders.recv().await;
            park_until_glommio_wakes().await;
            again.block();
        })
    });
    eventually("it falls asleep", || stats.parks.get() > 0 && pulse.reading() == 0);
    assert_eq!(pulse.busy_for(Instant::now()), Duration::ZERO);
    assert!(sender.send(Blocking { began: began.clone(), go_on: going_on }).is_ok());
    check_busy_since(&pulse, begins.recv_timeout(PATIENCE).unwrap());
    let (go_on_again, going_on) = mpsc::channel();
    assert!(sender.send(Blocking { began, go_on: going_on }).is_ok());
    let parks = stats.parks.get();
    go_on.send(()).unwrap();
    eventually("it falls asleep again", || stats.parks.get() > parks && pulse.reading() == 0);
    check_busy_since(&pulse, begins.recv_timeout(PATIENCE).unwrap());
    go_on_again.send(()).unwrap();
    core.join().unwrap().unwrap();
}

#[test]
fn whoever_ends_a_park_knows_the_time() {
    on_executor(|| async {
        let driver = Driver::current();
        park_until_glommio_wakes().await;
        let late = driver.with(|core| core.now()).elapsed();
        assert!(late < Duration::from_millis(50), "{late:?}");
    })
    .unwrap();
}

#[test]
fn a_core_that_waits_in_its_ring_sleeps() {
    let options = options();
    let (pulse, stats) = (Arc::clone(&options.pulse), Arc::clone(&options.stats));
    let core = std::thread::spawn(move || {
        run(&options, || async {
            // Too short to park.
            for _ in 0..20 {
                sleep(Duration::from_millis(5)).await;
            }
        })
    });
    eventually("it sleeps between", || pulse.reading() == 0 && stats.parks.get() == 0);
    core.join().unwrap().unwrap();
}

#[test]
fn the_clients_of_a_stuck_core_can_be_told() {
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..3).map(|_| pair()).unzip();
    let options = options();
    let registry = options.registry.clone();
    let ((began, begins), (go_on, going_on)) = (mpsc::channel(), mpsc::channel());
    let core = std::thread::spawn(move || {
        run(&options, move || async move {
            let mut streams: Vec<_> =
                servers.into_iter().map(|s| Stream::new(s).unwrap()).collect();
            let elsewhere = streams.pop().unwrap().release().await.ok().expect("idle");
            Blocking { began, go_on: going_on }.block();
            drop((streams, elsewhere));
        })
    });
    begins.recv_timeout(PATIENCE).unwrap();
    assert_eq!(registry.shut_down_all(), 2, "what has left the core is not its own any more");
    for client in &mut clients[..2] {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end is seen, though the core is stuck");
    }
    clients[2].set_nonblocking(true).unwrap();
    assert!(clients[2].read(&mut [0]).is_err(), "this one is open");
    go_on.send(()).unwrap();
    core.join().unwrap().unwrap();
    assert_eq!(registry.shut_down_all(), 0, "a life that has ended has no sockets");
}

#[test]
fn the_clients_that_a_stuck_core_has_accepted_and_not_seen_can_be_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let options = options();
    let registry = options.registry.clone();
    let ((began, begins), (go_on, going_on)) = (mpsc::channel(), mpsc::channel());
    let core = std::thread::spawn(move || {
        run(&options, move || async move {
            let listener = Listener::new(listener.into(), Arming::Accept).unwrap();
            let claimed = listener.accept().await.unwrap();
            until(|| Driver::current().with(|core| core.accepted_waiting()) == 2).await;
            Blocking { began, go_on: going_on }.block();
            drop((claimed, listener));
        })
    });
    begins.recv_timeout(PATIENCE).unwrap();
    assert_eq!(registry.shut_down_all(), 2);
    for client in &mut clients[1..] {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end is seen, though the core is stuck");
    }
    go_on.send(()).unwrap();
    core.join().unwrap().unwrap();
}

#[test]
fn a_shut_down_meets_no_descriptor_that_was_used_again() {
    const ROUNDS: usize = 300;
    let options = options();
    let registry = options.registry.clone();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let shutting = std::thread::spawn(move || shut_down_until(&registry, &stop));
    run_beside(&options, || async {
        for round in 0..ROUNDS {
            let (server, _client) = std::os::unix::net::UnixStream::pair().unwrap();
            let stream = Stream::new(server.into()).unwrap();
            match round % 3 {
                0 => drop(stream),
                1 => drop(stream.release().await),
                _ => std::mem::forget(stream),
            }
            until(|| in_flight().0 <= round / 3 + 1).await;
            // A turn, so that it is closed. These take over the numbers that have become free.
            sleep(Duration::from_micros(100)).await;
            let pairs = || std::os::unix::net::UnixStream::pair().unwrap();
            let mut bystanders: Vec<_> = (0..8).map(|_| pairs()).collect();
            for i in 0..160 {
                let (one, other) = &mut bystanders[i % 8];
                one.write_all(b"x").expect("a bystander is not shut down");
                other.read_exact(&mut [0]).expect("a bystander is not shut down");
            }
        }
    });
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(shutting.join().unwrap() > 0, "something was there to shut down");
}

fn shut_down_until(registry: &Registry, stop: &std::sync::atomic::AtomicBool) -> usize {
    let mut most = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        most = most.max(registry.shut_down_all());
    }
    most
}

/// Runs an executor on a thread of its own, like [`on_executor`].
fn run_beside<F: Future<Output = ()> + 'static>(
    options: &Options,
    main: impl FnOnce() -> F + Send + 'static,
) {
    let options = options.clone();
    std::thread::spawn(move || run(&options, main)).join().unwrap().unwrap();
}

/// Does nothing, and lets nobody else do anything.
fn stall(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn a_client_is_not_late_because_the_core_was() {
    const CLIENTS: usize = 150;
    let timeout = Duration::from_millis(200);
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| pair()).unzip();
    on_executor(move || async move {
        let kind = Driver::current().with(|core| core.deadline_kind(timeout));
        let reading = servers.into_iter().map(|server| {
            crate::rt::spawn_local(async move {
                let mut stream = Stream::new(server).unwrap();
                stream.arm(kind);
                receive(&mut stream, &mut Vec::new()).await
            })
        });
        let reading: Vec<_> = reading.collect();
        sleep(Duration::from_millis(5)).await;
        // In time, though nobody looks until the time is over.
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        stall(timeout * 2);
        for read in reading {
            assert_eq!(read.await.unwrap(), 1);
        }
    })
    .unwrap();
}

#[test]
fn a_deadline_that_is_armed_after_a_stall_lasts_its_time() {
    let timeout = Duration::from_millis(400);
    let (server, mut client) = pair();
    on_executor(move || async move {
        let kind = Driver::current().with(|core| core.deadline_kind(timeout));
        let mut stream = Stream::new(server).unwrap();
        sleep(Duration::from_millis(1)).await;
        stall(timeout * 2);
        stream.arm(kind);
        let began = Instant::now();
        let mut input = Vec::new();
        sleep(Duration::from_millis(20)).await;
        client.write_all(b"x").unwrap();
        receive(&mut stream, &mut input).await.expect("there is time left");
        let error = receive(&mut stream, &mut input).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let waited = began.elapsed();
        assert!(waited + Duration::from_millis(10) > timeout && waited < timeout * 2, "{waited:?}");
    })
    .unwrap();
}
