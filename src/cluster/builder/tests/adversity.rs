//! Workers that are held up while the supervisor wants something of them.

use super::*;
use crate::cluster::ClusterHandle;

/// How many handlers have begun to block, in all workers.
type Blocked = Arc<AtomicUsize>;

/// Keeps its core for so many milliseconds.
fn blocking(blocked: &Blocked) -> impl Fn() -> App + Send + Sync + 'static {
    let blocked = Arc::clone(blocked);
    move || {
        let blocked = Arc::clone(&blocked);
        let block = move |crate::app::Path(millis): crate::app::Path<u64>| {
            let blocked = Arc::clone(&blocked);
            async move {
                blocked.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(millis));
                "late"
            }
        };
        App::new().get("/", async || "alive").get("/block/:millis", block)
    }
}

/// Has a worker block for so long, and returns once it does.
fn block(handle: &ClusterHandle, blocked: &Blocked, millis: u64) -> TcpStream {
    let before = blocked.load(Ordering::SeqCst);
    let mut stream = connect(handle);
    write!(stream, "GET /block/{millis} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until(|| blocked.load(Ordering::SeqCst) > before);
    stream
}

fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn next(blocked: &Blocked) -> Cluster {
    Cluster::new(blocking(blocked)).listen("127.0.0.1:0").cpus(cpu()).instances(1)
}

fn stalling_after(stall: u64) -> Timeouts {
    Timeouts { stall: Duration::from_millis(stall), ..Timeouts::default() }
}

#[test]
fn a_reload_while_a_handler_keeps_its_core_leaves_no_connection_waiting() {
    let blocked = Blocked::default();
    let (cluster, _log) = cluster(blocking(&blocked));
    let handle = cluster.instances(1).spawn().unwrap();
    let mut stuck = block(&handle, &blocked, 3000);
    handle.reload(next(&blocked)).unwrap();
    for n in 0..20 {
        assert!(ask(&mut connect(&handle), "/").unwrap().ends_with("alive"), "{n}");
    }
    stuck.set_nonblocking(true).unwrap();
    assert!(stuck.read(&mut [0]).is_err(), "it is blocked all the while");
    drop(stuck);
}

#[test]
fn a_worker_that_stalls_while_it_retires_is_treated_as_stuck() {
    let blocked = Blocked::default();
    let (cluster, log) = cluster(blocking(&blocked));
    let handle = cluster.instances(1).spawn().unwrap();
    let _stuck = block(&handle, &blocked, 3000);
    handle.reload(next(&blocked).timeouts(stalling_after(300))).unwrap();
    wait_for(&log, |event| matches!(event, Event::Stalled { .. }));
    handle.shutdown().unwrap();
}

#[test]
fn idle_connections_are_handed_on_however_many_there_are() {
    let blocked = Blocked::default();
    let (cluster, log) = cluster(blocking(&blocked));
    let timeouts = Timeouts { idle_grace: PATIENCE, ..Timeouts::default() };
    let handle = cluster.instances(1).timeouts(timeouts).spawn().unwrap();
    // More than fit through a door at once.
    let mut idle: Vec<_> = (0..1500).map(|_| connect(&handle)).collect();
    for stream in &mut idle {
        assert!(ask(stream, "/").unwrap().ends_with("alive"));
    }
    handle.reload(next(&blocked)).unwrap();
    wait_for(&log, |event| matches!(event, Event::Exited { .. }));
    for stream in &mut idle {
        assert!(ask(stream, "/").unwrap().ends_with("alive"));
    }
    handle.shutdown().unwrap();
}

#[derive(Clone)]
struct Word;

#[test]
fn orders_reach_a_worker_whose_messages_have_piled_up() {
    let blocked = Blocked::default();
    let app = blocking(&blocked);
    let (cluster, log) = cluster(move || app().on_message(|Word| {}));
    let handle = cluster.instances(2).spawn().unwrap();
    let mut stuck: Vec<_> = (0..2).map(|_| block(&handle, &blocked, 600)).collect();
    while handle.broadcast(&Word) > 0 {}
    handle.scale(1).unwrap();
    for stream in &mut stuck {
        assert!(stream.read(&mut [0; 1024]).is_ok());
    }
    for n in 0..20 {
        assert!(ask(&mut connect(&handle), "/").unwrap().ends_with("alive"), "{n}");
    }
    let stopped = handle.shutdown().unwrap();
    assert!(stopped.abandoned.is_empty(), "{stopped:?} {:#?}", seen(&log));
}

#[test]
fn an_idle_connection_is_not_handed_to_a_worker_that_would_refuse_it() {
    let (cluster, _log) = cluster(blocking(&Blocked::default()));
    let limits = Limits { connections: 2, ..Limits::default() };
    let handle = cluster.instances(2).limits(limits).spawn().unwrap();
    let mut idle: Vec<_> = (0..4).map(|_| connect(&handle)).collect();
    for stream in &mut idle {
        assert!(ask(stream, "/").unwrap().ends_with("alive"));
    }
    handle.scale(1).unwrap();
    let mut kept = 0;
    for stream in &mut idle {
        // Those that cannot be handed on are answered as long as they may be, or just closed.
        match ask(stream, "/") {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => {
                assert!(answer.ends_with("alive"), "{answer}");
                kept += 1;
            }
            Err(_) => {}
        }
    }
    assert!(kept >= 2, "{kept}");
    handle.shutdown().unwrap();
}

#[test]
fn a_worker_that_stalls_before_its_siblings_have_started_has_a_successor() {
    let births = AtomicUsize::new(0);
    let (cluster, log) = cluster(move || {
        if births.fetch_add(1, Ordering::Relaxed) == 0 {
            crate::rt::spawn_detached(async {
                crate::rt::sleep(Duration::from_millis(50)).await;
                std::thread::sleep(Duration::from_secs(3));
            });
        } else {
            std::thread::sleep(Duration::from_millis(800));
        }
        App::new()
    });
    let handle = cluster.instances(2).timeouts(stalling_after(200)).spawn().unwrap();
    wait_for(&log, |event| matches!(event, Event::Stalled { .. }));
    handle.shutdown().unwrap();
}

#[test]
fn a_change_that_an_observer_asks_for_is_refused() {
    let handle = Arc::new(std::sync::OnceLock::<ClusterHandle>::new());
    let (answers, answered) = mpsc::channel();
    let (cluster, _log) = cluster(App::new);
    let within = Arc::downgrade(&handle);
    let cluster = cluster.on_event(move |event| {
        if let (Event::Scaled { .. }, Some(handle)) = (event, within.upgrade()) {
            let _gone = answers.send(handle.get().unwrap().scale(1));
        }
    });
    handle.set(cluster.instances(1).spawn().unwrap()).unwrap();
    handle.get().unwrap().scale(2).unwrap();
    assert!(answered.recv_timeout(PATIENCE).unwrap().is_err());
}

#[test]
fn a_drain_without_an_end_ends_when_everybody_has() {
    let (cluster, log) = cluster(App::new);
    let timeouts = Timeouts { drain: Duration::MAX, ..Timeouts::default() };
    let handle = cluster.instances(1).timeouts(timeouts).spawn().unwrap();
    std::thread::spawn(move || drop(handle.shutdown()));
    wait_for(&log, |event| matches!(event, Event::Stopped(_)));
}
