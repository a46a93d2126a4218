//! Handlers that do not yield, and programs that do not run.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{iter, thread};

use corelane::{App, Cluster, Event, Stall, Timeouts};
use rustix::process::Signal;

use crate::scenario::{Client, PATIENCE, Program, until};

const STALL: Duration = Duration::from_millis(300);
const DRAIN: Duration = Duration::from_millis(1500);

#[test]
fn a_stuck_worker_is_reported_replaced_and_its_clients_are_released() {
    let program = Program::start(1, &["--stall", "300", "--drain", "1500"]);
    let address = program.address();
    let mut idle = Client::connect(address);
    assert!(idle.ask("/").is_answer());
    let mut stuck = Client::connect(address);
    let begun = Instant::now();
    stuck.send("/stall").unwrap();
    let line = program.line_with("stalled for");
    let reported = Instant::now();
    assert!(line.starts_with("worker 0: ") && line.contains(" in /stall;"), "{line}");
    for _ in 0..40 {
        assert_eq!(Client::connect(address).ask_last("/").body(), "Hello, Cluster!");
    }
    assert!(begun.elapsed() < STALL + DRAIN, "they are served while it is stuck");
    for mut client in [idle, stuck] {
        assert!(client.sees_the_end());
        assert!(begun.elapsed() >= STALL + DRAIN, "cut after {:?}", begun.elapsed());
        let late = reported.elapsed().saturating_sub(DRAIN);
        assert!(late < Duration::from_secs(1), "{late:?} late");
    }
    program.line_with("2 connections shut down");
    assert!(Client::connect(address).ask_last("/").is_answer());
}

/// An app whose `/stuck` keeps its core until it is let go.
fn app(free: &Arc<AtomicBool>) -> App {
    let free = Arc::clone(free);
    App::new().get("/", async || "alive").get("/stuck", move || {
        let begun = Instant::now();
        while !free.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        async { "free" }
    })
}

fn client(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::on(stream)
}

#[test]
fn workers_that_share_a_socket_with_a_stuck_one_accept_all_that_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let free = Arc::<AtomicBool>::default();
    let mut timeouts = Timeouts::default();
    timeouts.stall = STALL;
    timeouts.drain = PATIENCE / 2;
    let release = Arc::clone(&free);
    let cluster = Cluster::new(move || app(&free)).listen(format!("unix:{}", path.display()));
    let handle = cluster.instances(3).timeouts(timeouts).spawn().unwrap();
    let events = handle.events();
    let wait = |wanted: &dyn Fn(&Event) -> bool| {
        let mut happened = iter::from_fn(|| events.recv_timeout(PATIENCE).ok());
        happened.find(|event| wanted(event)).expect("it happens in time")
    };
    let mut stuck = client(&path);
    stuck.send("/stuck").unwrap();
    let stalled = wait(&|event| matches!(event, Event::Stalled { .. }));
    let Event::Stalled { worker, stall: Stall { route, .. }, .. } = stalled else { unreachable!() };
    assert_eq!(route.as_deref(), Some("/stuck"));
    wait(&|event| matches!(event, Event::Listening { worker: at, .. } if *at == worker));
    for _ in 0..40 {
        assert_eq!(client(&path).ask_last("/").body(), "alive");
    }
    release.store(true, Ordering::SeqCst);
    assert_eq!(stuck.answer().body(), "free");
    // Where it goes at once, nobody has seen it come back.
    wait(&|event| matches!(event, Event::Exited { worker: at, .. } if *at == worker));
    for _ in 0..40 {
        assert_eq!(client(&path).ask_last("/").body(), "alive");
    }
}

#[test]
fn a_program_that_was_stopped_has_not_stalled() {
    let program = Program::start(2, &["--stall", "1000"]);
    let address = program.address();
    let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.ask("/").body(), "Hello, Cluster!");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let loaded = || {
        let enough = answered.load(Ordering::Relaxed) + 200;
        until("clients are served", || answered.load(Ordering::Relaxed) >= enough);
    };
    loaded();
    // A handler is at work before and after: for half a second of what the program lives through.
    let mut busy = Client::connect(address);
    busy.send("/stall/3500").unwrap();
    thread::sleep(Duration::from_millis(100));
    program.signal(Signal::STOP);
    // Time must pass here, with nothing to wait for: more than a stall takes.
    thread::sleep(Duration::from_secs(3));
    program.signal(Signal::CONT);
    assert_eq!(busy.answer().body(), "back");
    loaded();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let lines = program.lines_so_far();
    assert_eq!(lines, Vec::<String>::new());
}
