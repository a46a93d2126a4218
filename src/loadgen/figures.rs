//! What a run comes to, as `--json` prints it: one object, with the units in the names.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use super::{Errors, Outcome, Pace, Plan};

/// In a closed loop, a thread that was on its CPU for more than this share of the time was busy
/// throughout.
const SHARE_MAX: f64 = 0.95;
/// In an open loop, one request in a hundred may be this late by the generator's own doing.
const LATE_MAX: Duration = Duration::from_millis(1);
const LATE_QUANTILE: f64 = 0.99;

/// Everything that is said of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub target: String,
    pub method: String,
    pub connections: usize,
    pub threads: usize,
    pub pipeline: usize,
    pub keep_alive: bool,
    /// Requests per second that were to be sent; none in a closed loop.
    pub rate: Option<f64>,
    pub elapsed_seconds: f64,
    /// Those that succeeded.
    pub requests: u64,
    pub requests_per_second: f64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub received_bytes_per_second: f64,
    /// None if no request succeeded.
    pub latency_microseconds: Option<Latency>,
    #[serde(serialize_with = "by_kind")]
    pub errors: Errors,
    pub statuses: BTreeMap<u16, u64>,
    pub retried: u64,
    pub unsent: u64,
    pub unanswered: u64,
    /// None if there was no such request.
    pub unanswered_for_microseconds: Option<f64>,
    pub generator: Generator,
    /// None if nobody asked, or if it has ended.
    pub server: Option<Server>,
    pub interrupted: bool,
}

/// A distribution in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    #[serde(rename = "p99.99")]
    pub p99_99: f64,
    pub max: f64,
}

/// How the load generator itself did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Generator {
    pub cpu_seconds: f64,
    /// The part of the time that the busiest thread was on its CPU.
    pub busiest_thread_share: f64,
    /// Whether the generator, and not the server, may have been the limit.
    pub saturated: bool,
    /// Open loop only: how late it was.
    pub late_microseconds: Option<Late>,
}

/// How late requests were sent, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Late {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// What a server used meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// The process that it began with.
    pub pid: u32,
    /// CPU time of it and of what it has started.
    pub cpu: Duration,
    /// The most memory that each ever kept resident, summed.
    pub peak_memory: u64,
}

/// The same as figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Server {
    pub pid: u32,
    pub cpu_seconds: f64,
    /// Of all requests that it answered, also with an error; none if there were none.
    pub cpu_microseconds_per_request: Option<f64>,
    pub peak_memory_bytes: u64,
}

impl Figures {
    /// The figures of a run of this `method` against this `target`.
    pub(crate) fn of(
        (method, target): (&str, &str),
        plan: &Plan,
        outcome: &Outcome,
        used: Option<Used>,
    ) -> Self {
        let elapsed = outcome.elapsed.as_secs_f64();
        let per_second = |count: u64| if elapsed > 0.0 { float(count) / elapsed } else { 0.0 };
        let requests = outcome.latency.len();
        Self {
            target: target.to_owned(),
            method: method.to_owned(),
            connections: plan.connections,
            threads: plan.threads,
            pipeline: plan.pipeline,
            keep_alive: plan.keep_alive,
            rate: match plan.pace {
                Pace::Closed => None,
                Pace::Open { rate } => Some(rate),
            },
            elapsed_seconds: elapsed,
            requests,
            requests_per_second: per_second(requests),
            sent_bytes: outcome.sent,
            received_bytes: outcome.received,
            received_bytes_per_second: per_second(outcome.received),
            latency_microseconds: (requests > 0).then(|| Latency::of(&outcome.latency)),
            errors: outcome.errors,
            statuses: outcome.statuses.clone(),
            retried: outcome.retried,
            unsent: outcome.unsent,
            unanswered: outcome.unanswered,
            unanswered_for_microseconds: (outcome.unanswered > 0)
                .then_some(outcome.unanswered_for.as_secs_f64() * 1e6),
            generator: Generator::of(outcome),
            server: used.map(|used| Server::of(used, outcome)),
            interrupted: outcome.interrupted,
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
        Self {
            min: microseconds(histogram.min()),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: microseconds(histogram.max()),
        }
    }
}

impl Generator {
    fn of(outcome: &Outcome) -> Self {
        let elapsed = outcome.elapsed.as_secs_f64();
        let busiest = outcome.cpu.iter().max().copied().unwrap_or_default().as_secs_f64();
        let share = if elapsed > 0.0 { busiest / elapsed } else { 0.0 };
        // In an open loop a thread spins until the next request is due, so being busy says nothing.
        let saturated = match &outcome.late {
            None => share > SHARE_MAX,
            Some(late) => Duration::from_nanos(late.value_at_quantile(LATE_QUANTILE)) > LATE_MAX,
        };
        Self {
            cpu_seconds: outcome.cpu.iter().sum::<Duration>().as_secs_f64(),
            busiest_thread_share: share,
            saturated,
            late_microseconds: outcome.late.as_ref().map(|late| Late {
                p50: microseconds(late.value_at_quantile(0.5)),
                p99: microseconds(late.value_at_quantile(LATE_QUANTILE)),
                max: microseconds(late.max()),
            }),
        }
    }
}

impl Server {
    fn of(used: Used, outcome: &Outcome) -> Self {
        let answers: u64 = outcome.statuses.values().sum();
        let per_request = used.cpu.as_secs_f64() * 1e6 / float(answers.max(1));
        Self {
            pid: used.pid,
            cpu_seconds: used.cpu.as_secs_f64(),
            cpu_microseconds_per_request: (answers > 0).then_some(per_request),
            peak_memory_bytes: used.peak_memory,
        }
    }
}

impl Errors {
    /// Each kind with its count, in the order in which they are shown.
    pub(super) fn kinds(&self) -> [(&'static str, u64); 6] {
        let Self { connect, reset, timeout, short, malformed, status } = *self;
        [
            ("connect", connect),
            ("reset", reset),
            ("timeout", timeout),
            ("short", short),
            ("malformed", malformed),
            ("status", status),
        ]
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum()
    }
}

fn by_kind<S: Serializer>(errors: &Errors, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(errors.kinds())
}

fn microseconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of counts takes no 53 bits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;

    fn json(plan: &Plan, outcome: &Outcome, used: Option<Used>) -> Value {
        let figures = Figures::of(("GET", "http://127.0.0.1:3000/"), plan, outcome, used);
        serde_json::to_value(figures).unwrap()
    }

    #[test]
    fn a_run_has_this_schema() {
        let used = Used { pid: 7, cpu: Duration::from_millis(3), peak_memory: 4096 };
        let mut found = json(&sample::plan(), &sample::outcome(), Some(used));
        let latency = found["latency_microseconds"].take();
        assert_eq!(
            found,
            json!({
                "target": "http://127.0.0.1:3000/", "method": "GET",
                "connections": 64, "threads": 1, "pipeline": 1, "keep_alive": true, "rate": null,
                "elapsed_seconds": 2.0, "requests": 1000, "requests_per_second": 500.0,
                "sent_bytes": 40_000, "received_bytes": 4_000_000,
                "received_bytes_per_second": 2_000_000.0, "latency_microseconds": null,
                "errors": {
                    "connect": 0, "reset": 0, "timeout": 0, "short": 0, "malformed": 0, "status": 0,
                },
                "statuses": { "200": 1000 }, "retried": 0, "unsent": 0,
                "unanswered": 0, "unanswered_for_microseconds": null,
                "generator": {
                    "cpu_seconds": 1.0, "busiest_thread_share": 0.5, "saturated": false,
                    "late_microseconds": null,
                },
                "server": {
                    "pid": 7, "cpu_seconds": 0.003, "cpu_microseconds_per_request": 3.0,
                    "peak_memory_bytes": 4096,
                },
                "interrupted": false,
            })
        );
        let keys: Vec<_> = latency.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["max", "mean", "min", "p50", "p75", "p90", "p99", "p99.9", "p99.99"]);
        // The sample has 1 to 1,000 microseconds, once each.
        for (key, expected) in [("min", 1.0), ("p50", 500.0), ("mean", 500.5), ("p99.9", 999.0)] {
            let found = latency[key].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < 2e-3, "{key}: {found}");
        }
    }

    #[test]
    fn without_a_success_there_is_no_latency() {
        let mut outcome = sample::outcome();
        outcome.latency.reset();
        outcome.statuses.clear();
        let used = Used { pid: 7, cpu: Duration::from_millis(3), peak_memory: 0 };
        let found = json(&sample::plan(), &outcome, Some(used));
        assert_eq!(found["latency_microseconds"], Value::Null);
        assert_eq!(found["requests_per_second"], json!(0.0));
        assert_eq!(found["server"]["cpu_microseconds_per_request"], Value::Null);
    }

    #[test]
    fn a_run_that_was_stopped_at_once_divides_by_nothing() {
        let mut outcome = sample::outcome();
        outcome.elapsed = Duration::ZERO;
        let found = json(&sample::plan(), &outcome, None);
        assert_eq!(found["requests_per_second"], json!(0.0));
        assert_eq!(found["generator"]["busiest_thread_share"], json!(0.0));
    }

    #[test]
    fn saturation_is_a_busy_thread_or_late_requests() {
        let milliseconds = Duration::from_millis;
        let late = |microseconds: u64| {
            let mut late = Histogram::new(3).unwrap();
            late.record_n(1_000, 98).unwrap();
            late.record_n(microseconds * 1_000, 2).unwrap();
            Some(late)
        };
        for (cpu, late, saturated) in [
            ([1_800, 0], None, false),
            ([1_901, 0], None, true),
            // Not their sum: each thread has a CPU of its own.
            ([1_200, 1_200], None, false),
            ([2_000, 0], late(900), false),
            ([10, 0], late(1_100), true),
        ] {
            let cpu_times = cpu.map(milliseconds).to_vec();
            let outcome = Outcome { cpu: cpu_times, late, ..sample::outcome() };
            let found = Generator::of(&outcome);
            assert_eq!(found.saturated, saturated, "{found:?}");
            assert_eq!(found.late_microseconds.is_some(), outcome.late.is_some());
        }
    }
}
