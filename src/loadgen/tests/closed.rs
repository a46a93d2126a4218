//! The closed loop: what is sent, what is counted, when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

fn answering(answer: &'static str) -> Server {
    Server::new(move |mut session| {
        while session.request() {
            session.say(answer);
        }
    })
}

#[test]
fn sends_exactly_so_many_requests_and_counts_each() {
    for (connections, threads) in [(1, 1), (5, 2), (1, 3)] {
        let server = answering(OK);
        let progress = Progress::default();
        let plan = Plan { connections, threads, ..plan(&server, 103) };
        let outcome = run(&plan, &progress).unwrap();
        assert_eq!(fates(&outcome), (103, Errors::default(), 0));
        assert_eq!(outcome.statuses, BTreeMap::from([(200, 103)]));
        assert_eq!(outcome.sent, 103 * REQUEST.len() as u64);
        assert_eq!(outcome.received, 103 * OK.len() as u64);
        assert_eq!((server.requests(), server.asking()), (103, connections));
        assert_eq!(outcome.cpu.len(), threads.min(connections));
        assert!(outcome.elapsed >= Duration::from_nanos(outcome.latency.max() / 2));
        assert!(!outcome.interrupted && outcome.late.is_none() && outcome.unsent == 0);
        assert_eq!(progress.done.load(Ordering::Relaxed), 103);
        assert!(progress.measuring.load(Ordering::Relaxed));
    }
}

#[test]
fn has_so_many_requests_in_flight_as_it_is_told_and_no_more() {
    let server = Server::new(|mut session| {
        // Answers nothing before it has four.
        loop {
            for _ in 0..4 {
                if !session.request() {
                    return;
                }
            }
            session.say(&OK.repeat(4));
        }
    });
    let plan = Plan { pipeline: 4, connections: 2, ..plan(&server, 40) };
    assert_eq!(fates(&outcome(&plan)), (40, Errors::default(), 0));

    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let reluctant = Server::new(move |mut session| {
        while session.request() {
            // What is in flight has come by then.
            std::thread::sleep(Duration::from_millis(3));
            let mut waiting = 1;
            while session.has_another() {
                waiting += 1;
                assert!(session.request());
            }
            seen.fetch_max(waiting, Ordering::Relaxed);
            for _ in 0..waiting {
                session.say(OK);
            }
        }
    });
    let plan = Plan { pipeline: 4, ..super::plan(&reluctant, 40) };
    assert_eq!(fates(&outcome(&plan)), (40, Errors::default(), 0));
    assert_eq!(most.load(Ordering::Relaxed), 4);
}

#[test]
fn understands_every_way_to_delimit_an_answer() {
    let table = [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", 6),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 6),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 6),
    ];
    for (answer, connections) in table {
        let server = Server::new(move |mut session| {
            while session.request() {
                for piece in answer.split_inclusive('\n') {
                    session.say(piece);
                }
                if connections > 1 {
                    return;
                }
            }
        });
        let outcome = outcome(&plan(&server, 6));
        assert_eq!(fates(&outcome), (6, Errors::default(), 0), "{answer:?}");
        assert_eq!(server.asking(), connections, "{answer:?}");
        assert_eq!(outcome.received, 6 * answer.len() as u64);
    }
}

#[test]
fn an_answer_to_head_has_no_body() {
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let plan = Plan { headless_answer: true, ..plan(&server, 5) };
    assert_eq!(fates(&outcome(&plan)), (5, Errors::default(), 0));
}

#[test]
fn asks_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::unix(&path, |mut session| {
        while session.request() {
            session.say(OK);
        }
    });
    assert_eq!(fates(&outcome(&plan(&server, 20))), (20, Errors::default(), 0));
}

#[test]
fn without_keep_alive_each_request_has_a_connection_of_its_own() {
    let server = Server::new(move |mut session| {
        assert!(session.request());
        session.say(OK);
    });
    let plan = Plan { keep_alive: false, connections: 2, ..plan(&server, 11) };
    assert_eq!(fates(&outcome(&plan)), (11, Errors::default(), 0));
    assert_eq!(server.asking(), 11);
}

#[test]
fn without_keep_alive_the_client_closes_if_the_server_does_not() {
    let closed = Arc::new(AtomicUsize::new(0));
    let server = Server::new(move |mut session| {
        assert!(session.request());
        // No answer before all earlier connections are closed.
        let deadline = Instant::now() + Duration::from_secs(5);
        while closed.load(Ordering::Relaxed) < session.number {
            assert!(Instant::now() < deadline, "the client closes");
            std::thread::yield_now();
        }
        session.say(OK);
        assert!(!session.request());
        closed.fetch_add(1, Ordering::Relaxed);
    });
    let plan = Plan { keep_alive: false, ..plan(&server, 5) };
    assert_eq!(fates(&outcome(&plan)), (5, Errors::default(), 0));
    assert_eq!(server.asking(), 5);
}

#[test]
fn sends_requests_that_do_not_fit_into_a_packet() {
    const SIZE: usize = 1 << 20;
    let server = Server::new(|mut session| {
        // Answers nothing before it has two, of which the socket holds only a part.
        let mut first = session.take_input();
        while session.swallow(2 * SIZE - first) {
            first = 0;
            session.say(&OK.repeat(2));
        }
    });
    let plan = Plan { request: vec![b'x'; SIZE], pipeline: 2, ..plan(&server, 8) };
    let outcome = outcome(&plan);
    assert_eq!(fates(&outcome), (8, Errors::default(), 0));
    assert_eq!(outcome.sent, 8 << 20);
}

#[test]
fn ends_when_the_time_is_over_and_drops_what_is_in_flight() {
    let server = Server::new(|mut session| {
        if session.number == 0 {
            // Never answers.
            while session.request() {}
        }
        while session.request() {
            session.say(OK);
        }
    });
    let until = Until::Elapsed(Duration::from_millis(200));
    let plan = Plan { until, connections: 2, ..plan(&server, 0) };
    let began = Instant::now();
    let outcome = outcome(&plan);
    assert_eq!((outcome.errors, outcome.interrupted), (Errors::default(), false));
    assert!(!outcome.latency.is_empty());
    let waited = outcome.unanswered_for;
    assert!(outcome.unanswered >= 1, "who never answers is told of: {outcome:?}");
    assert!(waited >= Duration::from_millis(100) && waited <= outcome.elapsed, "{waited:?}");
    assert!(outcome.elapsed >= Duration::from_millis(200) && outcome.elapsed <= began.elapsed());
}

#[test]
fn a_server_that_never_answers_is_told_of_before_it_times_out() {
    let server = Server::new(|mut session| while session.request() {});
    let milliseconds = Duration::from_millis;
    let until = Until::Elapsed(milliseconds(100));
    let plan = Plan { until, warm_up: milliseconds(50), connections: 3, ..plan(&server, 0) };
    let outcome = outcome(&plan);
    assert_eq!(fates(&outcome), (0, Errors::default(), 0));
    assert_eq!(outcome.unanswered, 3);
    assert!(outcome.unanswered_for >= milliseconds(100), "{outcome:?}");
}

#[test]
fn ends_early_when_it_is_told_to() {
    let server = answering(OK);
    let plan = Plan { until: Until::Elapsed(Duration::from_secs(600)), ..plan(&server, 0) };
    let progress = Progress::default();
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &progress).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while progress.done.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < deadline, "it says how far it is");
            std::thread::yield_now();
        }
        progress.stop.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(outcome.interrupted && !outcome.latency.is_empty());
    assert!(outcome.elapsed < Duration::from_secs(30));
}

#[test]
fn what_begins_in_the_warm_up_does_not_count() {
    // Bad answers first, then one that is begun in the warm-up and comes after it.
    let held = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let server = Server::new(move |mut session| {
        while session.request() {
            if began.elapsed() < Duration::from_millis(200) {
                session.say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            if !held.swap(true, Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(1));
            }
            session.say(OK);
        }
    });
    let until = Until::Elapsed(Duration::from_millis(900));
    let warm_up = Duration::from_millis(500);
    let outcome = outcome(&Plan { until, warm_up, ..plan(&server, 0) });
    assert_eq!(outcome.errors, Errors::default());
    let successes = outcome.latency.len();
    assert!(successes > 0 && outcome.latency.max() < 950_000_000, "{}", outcome.latency.max());
    assert_eq!(outcome.statuses, BTreeMap::from([(200, successes)]));
    let of_answers = successes * OK.len() as u64;
    assert!(outcome.received.abs_diff(of_answers) <= 2 * OK.len() as u64, "{outcome:?}");
    assert!(outcome.elapsed < Duration::from_millis(1400), "{:?}", outcome.elapsed);
}
