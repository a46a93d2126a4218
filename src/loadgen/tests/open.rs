//! The open loop: requests are due when they are due, whatever the server does.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::*;

const PAUSE: Duration = Duration::from_secs(1);

fn at(server: &Server, rate: f64, until: Until) -> Plan {
    Plan { pace: Pace::Open { rate }, until, ..plan(server, 0) }
}

/// Answers, and stops once, in the middle of everything, for the length of the pause.
fn pausing() -> Server {
    let asked = Mutex::new(0);
    Server::new(move |mut session| {
        while session.request() {
            {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                if *asked == 300 {
                    std::thread::sleep(PAUSE);
                }
            }
            session.say(OK);
        }
    })
}

#[test]
fn a_server_that_pauses_cannot_hide_it() {
    let server = pausing();
    let until = Until::Elapsed(Duration::from_secs(2));
    let outcome = outcome(&Plan { connections: 8, ..at(&server, 500.0, until) });
    assert_eq!(fates(&outcome), (1000, Errors::default(), 0));
    assert_eq!((outcome.unsent, outcome.interrupted), (0, false));
    // Half of the requests were due in the pause.
    let [middle, p99] = [0.7, 0.99].map(|quantile| outcome.latency.value_at_quantile(quantile));
    assert!(middle >= 200_000_000 && p99 >= 800_000_000, "{middle} {p99}");
    let late = outcome.late.unwrap().len();
    assert!((1..=600).contains(&late), "who waited for a connection was not late: {late}");
    assert!(outcome.elapsed >= Duration::from_secs(2));
}

#[test]
fn in_a_closed_loop_it_can() {
    let server = pausing();
    let until = Until::Elapsed(Duration::from_secs(2));
    let outcome = outcome(&Plan { connections: 8, until, ..plan(&server, 0) });
    assert!(outcome.latency.max() >= 900_000_000, "there was a pause");
    let p99 = outcome.latency.value_at_quantile(0.99);
    assert!(p99 < 500_000_000, "{p99}, of {}", outcome.latency.len());
}

#[test]
fn sends_exactly_so_many_requests_and_not_faster_than_they_are_due() {
    for threads in [1, 2] {
        let server = pausing();
        let plan = at(&server, 500.0, Until::Requests(101));
        let outcome = outcome(&Plan { connections: 3, threads, ..plan });
        assert_eq!(fates(&outcome), (101, Errors::default(), 0));
        assert_eq!(server.requests(), 101);
        assert!(outcome.elapsed >= Duration::from_millis(200), "{:?}", outcome.elapsed);
    }
}

#[test]
fn every_request_that_was_due_is_accounted_for() {
    // Answers a hundred, and then nothing any more.
    let asked = Mutex::new(0);
    let server = Server::new(move |mut session| {
        while session.request() {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            if *asked <= 100 {
                session.say(OK);
            }
        }
    });
    let plan = at(&server, 400.0, Until::Elapsed(Duration::from_millis(600)));
    let plan = Plan { connections: 3, timeout: Duration::from_millis(300), ..plan };
    let outcome = outcome(&plan);
    assert_eq!(outcome.latency.len(), 100);
    assert!(outcome.errors.timeout >= 3 && outcome.unsent > 0, "{outcome:?}");
    assert_eq!(100 + outcome.errors.timeout + outcome.unsent, 240);
    assert_eq!(outcome.errors, Errors { timeout: outcome.errors.timeout, ..Errors::default() });
    assert!(outcome.elapsed < Duration::from_millis(900), "silence at the end is no work done");
}

#[test]
fn who_has_no_patience_with_a_server_that_hangs_sees_what_was_not_answered() {
    let server = Server::new(|mut session| while session.request() {});
    let plan = at(&server, 100.0, Until::Elapsed(Duration::from_secs(600)));
    let progress = Progress::default();
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &progress).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        progress.stop.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(outcome.interrupted);
    let due = u64::try_from(outcome.elapsed.as_millis()).unwrap() / 10 + 1;
    assert!(outcome.unsent.abs_diff(due) <= 1, "{} of {due}", outcome.unsent);
}

#[test]
fn without_keep_alive_latency_counts_from_when_a_request_was_due() {
    let server = Server::new(|mut session| {
        session.request();
        std::thread::sleep(Duration::from_millis(20));
        session.say(OK);
    });
    let plan = at(&server, 100.0, Until::Requests(20));
    let outcome = outcome(&Plan { keep_alive: false, ..plan });
    assert_eq!(fates(&outcome), (20, Errors::default(), 0));
    assert_eq!(server.asking(), 20);
    // Each takes 20 ms and one is due every 10 ms: the last waits for those before it.
    assert!(outcome.latency.max() >= 200_000_000, "{}", outcome.latency.max());
    assert!(outcome.late.unwrap().len() < 20, "most waited for the connection");
}
