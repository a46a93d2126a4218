//! Each kind of failure is counted as what it is, once.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

use http::StatusCode;

use super::*;

/// So many errors of one kind.
fn only(set: impl FnOnce(&mut Errors)) -> Errors {
    let mut errors = Errors::default();
    set(&mut errors);
    errors
}

fn check(
    name: &str,
    expected: (u64, Errors, u64),
    script: impl Fn(Session) + Send + Sync + 'static,
) {
    let server = Server::new(script);
    let plan = Plan { timeout: Duration::from_millis(500), ..plan(&server, 4) };
    assert_eq!(fates(&outcome(&plan)), expected, "{name}");
}

#[test]
fn a_connection_that_never_gave_an_answer_fails_its_requests() {
    let short = only(|errors| errors.short = 4);
    check("closed unanswered", (0, short, 0), |mut session| {
        session.request();
    });
    check("closed within the head", (0, short, 0), |mut session| {
        session.request();
        session.say("HTTP/1.1 200 OK\r\nConte");
    });
    check("closed within the body", (0, short, 0), |mut session| {
        session.request();
        session.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
    });
    check("reset", (0, only(|errors| errors.reset = 4), 0), |mut session| {
        session.request();
        session.reset();
    });
    check("garbage", (0, only(|errors| errors.malformed = 4), 0), |mut session| {
        session.request();
        session.say("hello\r\n");
        session.request();
    });
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout() {
    let silent = |session: &mut Session| while session.request() {};
    check("silent", (0, only(|errors| errors.timeout = 4), 0), move |mut session| {
        silent(&mut session);
    });
    check("after one answer", (3, only(|errors| errors.timeout = 1), 0), move |mut session| {
        if session.number == 0 {
            session.request();
            session.say(OK);
            silent(&mut session);
        }
        while session.request() {
            session.say(OK);
        }
    });
}

#[test]
fn an_answer_with_another_status_is_no_success() {
    let server = Server::new(|mut session| {
        while session.request() {
            session.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let asked = outcome(&plan(&server, 4));
    assert_eq!(fates(&asked), (0, only(|errors| errors.status = 4), 0));
    assert_eq!(asked.statuses.into_iter().collect::<Vec<_>>(), [(404, 4)]);
    let expected = Plan { expect: Some(StatusCode::NOT_FOUND), ..plan(&server, 4) };
    assert_eq!(fates(&outcome(&expected)), (4, Errors::default(), 0));
    let other = Plan { expect: Some(StatusCode::OK), ..plan(&server, 4) };
    assert_eq!(fates(&outcome(&other)), (0, only(|errors| errors.status = 4), 0));
    assert_eq!(server.asking(), 3, "its connection is kept");
}

#[test]
fn a_reused_connection_that_closes_before_an_answer_has_its_request_sent_again() {
    for reset in [false, true] {
        let server = Server::new(move |mut session| {
            for _ in 0..2 {
                session.request();
                session.say(OK);
            }
            if session.request() {
                std::thread::sleep(Duration::from_millis(30));
                if reset {
                    session.reset();
                }
            }
        });
        let outcome = outcome(&plan(&server, 10));
        assert_eq!(fates(&outcome), (10, Errors::default(), 4), "reset: {reset}");
        assert_eq!((server.asking(), server.requests()), (5, 14));
        let slow = outcome.latency.count_between(25_000_000, u64::MAX);
        assert!(slow >= 4, "latency counts from the first time that they were sent: {slow}");
    }
}

#[test]
fn a_reused_connection_that_fails_within_an_answer_fails_that_request() {
    let short = (3, only(|errors| errors.short = 1), 0);
    check("within an answer", short, |mut session| {
        session.request();
        session.say(OK);
        if session.number == 0 {
            session.request();
            session.say("HTTP/1.1 200");
            return;
        }
        while session.request() {
            session.say(OK);
        }
    });
}

#[test]
fn pipelined_requests_behind_the_last_answer_are_sent_again() {
    let server = Server::new(|mut session| {
        if session.number == 0 {
            for _ in 0..4 {
                session.request();
            }
            // The third is cut off; the fourth had nothing.
            session.say(&format!("{OK}{OK}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"));
            return;
        }
        while session.request() {
            session.say(OK);
        }
    });
    let plan = Plan { pipeline: 4, ..plan(&server, 4) };
    assert_eq!(fates(&outcome(&plan)), (3, only(|errors| errors.short = 1), 1));
    assert_eq!(server.asking(), 2);
}

#[test]
fn more_than_what_was_asked_for_is_noticed() {
    let server = Server::new(|mut session| {
        while session.request() {
            session.say(OK);
            session.say(" and more");
        }
    });
    let (answered, errors, _) = fates(&outcome(&plan(&server, 8)));
    assert_eq!(answered + errors.malformed, 8);
    assert!(errors.malformed >= 3, "{errors:?}");
}

#[test]
fn a_server_that_goes_away_is_a_failure_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Tcp(vec![listener.local_addr().unwrap()]);
    let serving = std::thread::spawn(move || {
        // The first one only looks whether somebody is there.
        drop(listener.accept().unwrap());
        let mut session = listener.accept().unwrap().0;
        let mut request = vec![0; REQUEST.len()];
        for answered in [true, true, false] {
            std::io::Read::read_exact(&mut session, &mut request).unwrap();
            if answered {
                std::io::Write::write_all(&mut session, OK.as_bytes()).unwrap();
            }
        }
    });
    let absent = Server::new(|_| {});
    let plan = Plan { target, ..plan(&absent, 5) };
    let expected = (2, only(|errors| errors.connect = 3), 1);
    assert_eq!(fates(&outcome(&plan)), expected);
    serving.join().unwrap();
}

#[test]
fn a_server_that_cannot_be_reached_is_no_run() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::new(|mut session| {
        while session.request() {
            session.say(OK);
        }
    });
    let Target::Tcp(known) = server.target() else { unreachable!("it is TCP") };
    let to = |addresses: &[SocketAddr]| Target::Tcp(addresses.to_vec());
    let plan = plan(&server, 3);
    let refused = run(&Plan { target: to(&[nobody]), ..plan.clone() }, &Progress::default());
    let Err(RunError::Connect { target, error }) = refused else { panic!("{refused:?}") };
    assert_eq!(target, nobody.to_string());
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let second = outcome(&Plan { target: to(&[nobody, known[0]]), ..plan });
    assert_eq!(fates(&second), (3, Errors::default(), 0), "another address is tried");
}

#[test]
fn requests_of_connections_that_fail_are_neither_lost_nor_counted_twice() {
    // Every kind of end in turn, on several connections and threads at once.
    let turns = Mutex::new(0_u64);
    let server = Server::new(move |mut session| {
        while session.request() {
            let turn = {
                let mut turns = turns.lock().unwrap();
                *turns += 1;
                *turns
            };
            match turn % 11 {
                3 => return,
                5 => return session.reset(),
                7 => return session.say("what?\r\n\r\n"),
                9 => return session.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
                _ => session.say(OK),
            }
        }
    });
    for pipeline in [1, 5] {
        let plan = Plan { connections: 7, threads: 2, pipeline, ..plan(&server, 300) };
        let (answered, errors, retried) = fates(&outcome(&plan));
        let failed = errors.reset + errors.short + errors.malformed;
        assert_eq!(answered + failed, 300, "{errors:?}");
        assert!(answered > 0 && failed > 0 && retried > 0, "{errors:?}");
        assert_eq!((errors.connect, errors.timeout, errors.status), (0, 0, 0));
    }
}
