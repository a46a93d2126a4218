//! Panics of executors and of handlers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{App, Cluster, Event, ExitReason, OnPanic, Restart, Workers};

use crate::scenario::{Asked, Client, PATIENCE, tcp, until};

/// Says when the handler of `/block` keeps its core.
static BLOCKING: AtomicBool = AtomicBool::new(false);

fn app() -> App {
    App::new()
        .get("/worker", async || Workers::current().own().to_string())
        .get("/executor-panic", async || {
            drop(corelane::spawn_local(async { panic!("a task, on purpose") }));
        })
        .get("/handler-panic", handler_panic)
        .get("/block", block)
}

async fn handler_panic() {
    panic!("a handler, on purpose")
}

/// Keeps its core for a while, and panics.
async fn block() {
    BLOCKING.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        std::hint::spin_loop();
    }
    panic!("a handler that blocked, on purpose")
}

fn cluster(workers: usize) -> Cluster {
    Cluster::new(app).listen("127.0.0.1:0").instances(workers).restart(Restart::unlimited())
}

fn worker_of(client: &mut Client) -> usize {
    client.ask("/worker").body().parse().unwrap()
}

/// The next event of a kind.
#[track_caller]
fn next<T>(events: &Receiver<Event>, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("it happens in time");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

fn restarting(event: &Event) -> Option<usize> {
    match event {
        Event::Restarting { worker, .. } => Some(*worker),
        _ => None,
    }
}

/// A client that asks on one connection until that ends; then says whose it was, and how it ended.
struct Steady {
    worker: usize,
    answers: Arc<AtomicU64>,
}

impl Steady {
    fn start(address: SocketAddr, ends: Sender<(usize, Asked)>, stop: Arc<AtomicBool>) -> Self {
        let mut client = Client::connect(address);
        let worker = worker_of(&mut client);
        let answers = Arc::<AtomicU64>::default();
        let count = Arc::clone(&answers);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let asked = client.ask("/worker");
                if !asked.is_answer() {
                    return drop(ends.send((worker, asked)));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { worker, answers }
    }
}

#[test]
fn a_panic_under_load_ends_the_connections_of_its_worker_alone() {
    let handle = cluster(4).spawn().unwrap();
    let (address, events) = (tcp(&handle), handle.events());
    let (sender, ends) = channel();
    let stop = Arc::<AtomicBool>::default();
    let start = |_| Steady::start(address, sender.clone(), Arc::clone(&stop));
    let steady: Vec<_> = (0..24).map(start).collect();
    let mut idle: Vec<_> = (0..8).map(|_| Client::connect(address)).collect();
    let homes: Vec<_> = idle.iter_mut().map(worker_of).collect();
    let _answer = Client::connect(address).ask("/executor-panic");
    let victim = next(&events, restarting);
    let (theirs, others): (Vec<_>, Vec<_>) = steady.iter().partition(|one| one.worker == victim);
    assert!(!theirs.is_empty() && !others.is_empty(), "connections are shared out");
    for _ in &theirs {
        let (worker, asked) = ends.recv_timeout(2 * PATIENCE).expect("the client sees the end");
        assert_eq!(worker, victim);
        assert!(matches!(asked, Asked::Closed | Asked::Cut), "{asked:?}");
    }
    for (client, worker) in idle.iter_mut().zip(homes) {
        if worker == victim {
            assert!(client.sees_the_end(), "an idle client of worker {worker} hangs");
        } else {
            assert_eq!(worker_of(client), worker);
        }
    }
    let before: Vec<_> = others.iter().map(|one| one.answers.load(Ordering::Relaxed)).collect();
    until("the others are served", || {
        let goes_on =
            |(one, before): (&&Steady, &u64)| one.answers.load(Ordering::Relaxed) > *before + 10;
        others.iter().zip(&before).all(goes_on)
    });
    assert_eq!(ends.try_iter().collect::<Vec<_>>(), []);
    for _ in 0..20 {
        worker_of(&mut Client::connect(address));
    }
    stop.store(true, Ordering::Relaxed);
}

#[test]
fn connections_that_come_while_no_worker_lives_wait_for_the_successor() {
    let mut restart = Restart::default();
    restart.backoff = Duration::from_millis(400);
    restart.backoff_max = restart.backoff;
    let handle = cluster(1).restart(restart).spawn().unwrap();
    let (address, events) = (tcp(&handle), handle.events());
    let waits = |event: &Event| match event {
        Event::Restarting { reason: ExitReason::Panic { message, .. }, after, .. } => {
            assert_eq!(message, "a task, on purpose");
            Some(!after.is_zero())
        }
        _ => None,
    };
    loop {
        let _answer = Client::connect(address).ask("/executor-panic");
        if next(&events, waits) {
            break;
        }
        next(&events, |event| matches!(event, Event::Listening { .. }).then_some(()));
    }
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send("/worker").unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().body(), "0");
    }
}

#[test]
fn connections_on_their_way_to_a_worker_that_ends_are_served_by_others() {
    let handle = cluster(2).on_panic(OnPanic::Restart).spawn().unwrap();
    let (address, events) = (tcp(&handle), handle.events());
    let handed_off = || handle.stats().total().handed_off;
    let end = Instant::now() + PATIENCE;
    let mut seen = 0;
    while seen < 2 {
        assert!(Instant::now() < end, "connections are handed to a worker that has just got busy");
        let mut kept: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
        let homes: Vec<_> = kept.iter_mut().map(worker_of).collect();
        let at = homes.iter().position(|home| *home == 1).expect("connections are shared out");
        let mut victim = kept.swap_remove(at);
        // From now on worker 0 has more than it should.
        kept.retain_mut(|client| worker_of(client) == 0);
        until("worker 1 has one connection", || handle.stats().workers[1].figures.connections == 1);
        let before = handed_off();
        BLOCKING.store(false, Ordering::SeqCst);
        victim.send("/block").unwrap();
        while !BLOCKING.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        let mut clients: Vec<_> = (0..12).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.send("/worker").unwrap();
        }
        seen += usize::from(handed_off() > before);
        for client in &mut clients {
            let asked = client.answer();
            assert!(asked.is_answer(), "{asked:?}");
        }
        assert_eq!(next(&events, restarting), 1);
        next(&events, |event| matches!(event, Event::Listening { .. }).then_some(()));
    }
}

#[test]
fn a_handlers_panic_ends_its_worker_if_that_is_wanted() {
    for (on_panic, ends) in [(OnPanic::Respond, false), (OnPanic::Restart, true)] {
        let handle = cluster(1).on_panic(on_panic).spawn().unwrap();
        let events = handle.events();
        let mut idle = Client::connect(tcp(&handle));
        assert_eq!(worker_of(&mut idle), 0);
        let asked = Client::connect(tcp(&handle)).ask("/handler-panic");
        assert_eq!(asked.is_answer(), !ends, "{asked:?}");
        if ends {
            let reason = next(&events, |event| match event {
                Event::Restarting { reason: ExitReason::Panic { message, .. }, .. } => {
                    Some(message.clone())
                }
                _ => None,
            });
            assert_eq!(reason, "a handler, on purpose");
            assert!(idle.sees_the_end());
        } else {
            assert_eq!(worker_of(&mut idle), 0);
        }
        assert_eq!(worker_of(&mut Client::connect(tcp(&handle))), 0);
    }
}
