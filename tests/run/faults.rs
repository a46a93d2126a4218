//! What a running program survives: no descriptors left, a stop under load; and what it does when
//! there is nothing to do: nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{fs, iter, thread};

use rustix::process::Signal;

use super::{APP, PATIENCE, Running, allow_descriptors, connect};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a request on an open connection came to.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Answered {
        last: bool,
    },
    /// Closed before any byte of the answer.
    Closed,
    /// Closed within the answer.
    Cut,
}

/// Asks for `/`, whose answer ends with `shop`.
fn ask(stream: &mut TcpStream) -> Asked {
    if stream.write_all(REQUEST).is_err() {
        return Asked::Closed;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"\r\n\r\nshop") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) if answer.is_empty() => return Asked::Closed,
            Ok(0) | Err(_) => return Asked::Cut,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
    }
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    Asked::Answered { last: head.contains("connection: close") }
}

/// The time on a CPU of all threads but the supervisor's, which looks after the workers twice a
/// second, and their voluntary and involuntary context switches.
fn effort(running: &Running) -> (Duration, u64) {
    let tasks = fs::read_dir(running.proc("task")).unwrap();
    let mut total = (Duration::ZERO, 0);
    for task in tasks.flatten() {
        let path = task.path();
        if fs::read_to_string(path.join("comm")).unwrap() == "corelane-super\n" {
            continue;
        }
        let schedstat = fs::read_to_string(path.join("schedstat")).unwrap();
        let nanos = schedstat.split(' ').next().unwrap().parse().unwrap();
        let status = fs::read_to_string(path.join("status")).unwrap();
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        let switches: u64 =
            switches.map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()).sum();
        total = (total.0 + Duration::from_nanos(nanos), total.1 + switches);
    }
    total
}

#[test]
fn idle_workers_make_no_context_switch() {
    let running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    let mut idle: Vec<_> = (0..10).map(|_| connect(address)).collect();
    for stream in &mut idle {
        assert_eq!(ask(stream), Asked::Answered { last: false });
    }
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = effort(&running).1;
    loop {
        // Time must pass here, with nothing to wait for: that is what is looked at.
        thread::sleep(Duration::from_secs(5));
        let now = effort(&running).1;
        if now == quiet {
            return;
        }
        // The first five seconds hold the way to sleep.
        assert!(Instant::now() < deadline, "an idle worker sleeps");
        quiet = now;
    }
}

#[test]
fn without_descriptors_what_is_open_is_served_and_accepting_goes_on_later() {
    let needed = {
        let running = Running::start(Some(APP), &[]);
        running.one_worker();
        fs::read_dir(running.proc("fd")).unwrap().count() as u64
    };
    let running = Running::prepared(Some(APP), &[], |command| {
        allow_descriptors(command, needed + 5);
    });
    let address = running.one_worker();
    let (answered, answers) = channel();
    for mut stream in (0..20).map(|_| connect(address)) {
        let answered = answered.clone();
        thread::spawn(move || answered.send((ask(&mut stream), stream)));
    }
    drop(answered);
    // Which are accepted is not for the client to know: they wait at several sockets.
    let served = || answers.recv_timeout(Duration::from_millis(300)).ok();
    let mut streams = vec![answers.recv_timeout(PATIENCE).expect("some are accepted").1];
    streams.extend(iter::from_fn(served).map(|(_, stream)| stream));
    assert!(streams.len() < 20, "some are not accepted");
    let before = effort(&running);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(ask(&mut streams[0]), Asked::Answered { last: false });
        thread::sleep(Duration::from_millis(50));
    }
    let busy = effort(&running).0.saturating_sub(before.0);
    assert!(busy < Duration::from_millis(500), "no busy loop: {busy:?} of a second");
    // Those that wait are served as others go.
    let waiting = 20 - streams.len();
    drop(streams);
    for _ in 0..waiting {
        let (asked, _) = answers.recv_timeout(PATIENCE).expect("those that wait are served");
        assert_eq!(asked, Asked::Answered { last: false });
    }
}

#[test]
fn a_stop_under_load_cuts_no_request_that_was_begun() {
    let mut running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            thread::spawn(move || {
                let mut stream = connect(address);
                loop {
                    match ask(&mut stream) {
                        Asked::Answered { last: false } => {}
                        Asked::Answered { last: true } => return,
                        // Nor is a connection closed before its next answer: a client that asks
                        // again at once does so within the grace of an idle connection.
                        other => {
                            panic!("{other:?} while stopping: {}", stop.load(Ordering::SeqCst))
                        }
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while asked.load(Ordering::Relaxed) < 2000 {
        assert!(Instant::now() < deadline, "the clients are served");
        thread::yield_now();
    }
    stop.store(true, Ordering::SeqCst);
    running.signal(Signal::TERM);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(running.code(), 0);
}
