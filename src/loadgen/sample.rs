//! A plan and its outcome, for tests of what is made of them.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Errors, Outcome, Pace, Plan, Target, Until};

/// 64 connections in a closed loop, for two seconds.
pub(crate) fn plan() -> Plan {
    Plan {
        target: Target::Tcp(vec![([127, 0, 0, 1], 3000).into()]),
        request: b"GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n".to_vec(),
        headless_answer: false,
        connections: 64,
        threads: 1,
        pipeline: 1,
        keep_alive: true,
        pace: Pace::Closed,
        until: Until::Elapsed(Duration::from_secs(2)),
        warm_up: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        expect: None,
    }
}

/// A thousand answers, one for each microsecond from 1 to 1,000; the thread was busy half of the
/// time.
pub(crate) fn outcome() -> Outcome {
    let mut latency = Histogram::new(3).unwrap();
    for microsecond in 1..=1_000 {
        latency.record(microsecond * 1_000).unwrap();
    }
    Outcome {
        elapsed: Duration::from_secs(2),
        latency,
        late: None,
        sent: 40_000,
        received: 4_000_000,
        statuses: [(200, 1_000)].into(),
        errors: Errors::default(),
        retried: 0,
        unsent: 0,
        unanswered: 0,
        unanswered_for: Duration::ZERO,
        cpu: vec![Duration::from_secs(1)],
        interrupted: false,
    }
}
