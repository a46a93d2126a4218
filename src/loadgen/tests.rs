//! Whole runs against servers that do as they are told.

mod closed;
mod failing;
mod open;
mod server;

use std::time::Duration;

use super::{Errors, Outcome, Pace, Plan, Progress, RunError, Target, Until, run};
use server::{OK, Server, Session};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// So many requests over one connection, as fast as they are answered.
fn plan(server: &Server, requests: u64) -> Plan {
    Plan {
        target: server.target(),
        request: REQUEST.to_vec(),
        headless_answer: false,
        connections: 1,
        threads: 1,
        pipeline: 1,
        keep_alive: true,
        pace: Pace::Closed,
        until: Until::Requests(requests),
        warm_up: Duration::ZERO,
        timeout: Duration::from_secs(10),
        expect: None,
    }
}

fn outcome(plan: &Plan) -> Outcome {
    run(plan, &Progress::default()).unwrap()
}

/// What became of the requests: successes, errors, requests that were sent again.
fn fates(outcome: &Outcome) -> (u64, Errors, u64) {
    (outcome.latency.len(), outcome.errors, outcome.retried)
}
