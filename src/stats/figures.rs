//! What the workers have counted, as of one moment.

use std::fmt;

use super::{Latency, WorkerStats, prometheus};

/// What a cluster's workers have counted, read without stopping any of them: figures of one worker
/// may be a few requests apart from each other.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerFigures>,
}

/// One worker, and what it has counted in all its lives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerFigures {
    /// Its number, from 0.
    pub worker: usize,
    /// The CPU that it is pinned to.
    pub cpu: usize,
    /// What it does now.
    pub state: WorkerState,
    /// How often it has been started again after an end that nobody had asked for.
    pub restarts: u64,
    /// Why its last life ended, if one has.
    pub last_exit: Option<String>,
    /// What it has counted.
    pub figures: Figures,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It has been started and does not accept connections yet.
    Starting,
    /// It accepts connections.
    Serving,
    /// It accepts no more, and ends those it has.
    Draining,
    /// Its code has not yielded for longer than `timeouts.stall`.
    Stalled,
    /// It has ended and will be started again.
    Waiting,
    /// It has ended for good.
    Over,
}

/// Counted by one worker, or by several together. All but `connections` only ever grow.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Figures {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Requests whose head was read.
    pub requests: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
    /// Bytes given to the kernel to send to clients.
    pub bytes_sent: u64,
    /// Answers by the class of their status.
    pub statuses: Statuses,
    /// How long requests took.
    pub latency: Latency,
    /// Connections answered 503, because there were too many.
    pub overloaded: u64,
    /// Requests refused before any handler saw them, such as malformed ones.
    pub refused: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Accepts that failed and were tried again later.
    pub accept_failures: u64,
    /// Fresh connections given to a worker that had fewer.
    pub handed_off: u64,
    /// How often a worker fell asleep.
    pub parks: u64,
    /// How often the kernel ran out of receive buffers.
    pub shortages: u64,
}

/// Answers by the class of their status, refusals among them. Interim answers (100) are not
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statuses {
    /// 1xx: connections that were upgraded.
    pub informational: u64,
    /// 2xx.
    pub success: u64,
    /// 3xx.
    pub redirection: u64,
    /// 4xx.
    pub client_error: u64,
    /// 5xx.
    pub server_error: u64,
}

impl ClusterStats {
    /// Of these workers.
    pub(crate) fn new(workers: Vec<WorkerFigures>) -> Self {
        Self { workers }
    }

    /// What all workers together have counted.
    #[must_use]
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        self.workers.iter().for_each(|worker| total.add(&worker.figures));
        total
    }

    /// All of it for Prometheus, in its text format 0.0.4 (`text/plain; version=0.0.4`); `app` is
    /// the value of the label of that name.
    ///
    /// ```
    /// # let stats = corelane::ClusterStats::default();
    /// let text = stats.to_prometheus("my-app");
    /// assert!(text.contains("# TYPE corelane_requests_total counter\n"));
    /// ```
    #[must_use]
    pub fn to_prometheus(&self, app: &str) -> String {
        prometheus::encode(app, self)
    }
}

impl WorkerState {
    /// Whether it answers requests.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Serving | Self::Draining)
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stalled => "stalled",
            Self::Waiting => "waiting",
            Self::Over => "over",
        })
    }
}

impl Figures {
    pub(crate) fn read(stats: &WorkerStats) -> Self {
        Self {
            connections: stats.connections.get(),
            accepted: stats.accepted.get(),
            requests: stats.requests.get(),
            bytes_received: stats.bytes_received.get(),
            bytes_sent: stats.bytes_sent.get(),
            statuses: Statuses::from(stats.statuses.get()),
            latency: stats.latency.snapshot(),
            overloaded: stats.overloaded.get(),
            refused: stats.refused.get(),
            panics: stats.panics.get(),
            accept_failures: stats.accept_failures.get(),
            handed_off: stats.handed_off.get(),
            parks: stats.parks.get(),
            shortages: stats.shortages.get(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.accepted += other.accepted;
        self.requests += other.requests;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.statuses.add(other.statuses);
        self.latency.merge(&other.latency);
        self.overloaded += other.overloaded;
        self.refused += other.refused;
        self.panics += other.panics;
        self.accept_failures += other.accept_failures;
        self.handed_off += other.handed_off;
        self.parks += other.parks;
        self.shortages += other.shortages;
    }
}

impl Statuses {
    fn add(&mut self, other: Self) {
        self.informational += other.informational;
        self.success += other.success;
        self.redirection += other.redirection;
        self.client_error += other.client_error;
        self.server_error += other.server_error;
    }
}

impl From<[u64; 5]> for Statuses {
    fn from(counts: [u64; 5]) -> Self {
        let [informational, success, redirection, client_error, server_error] = counts;
        Self { informational, success, redirection, client_error, server_error }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_total_is_the_sum_of_the_workers() {
        let workers = (0..3).map(|worker| {
            let stats = WorkerStats::default();
            stats.connections.increment();
            stats.requests.add(worker as u64);
            stats.bytes_sent.add(100);
            stats.statuses.count(200);
            stats.statuses.count(404);
            stats.latency.record(Duration::from_millis(1 + worker as u64), 1);
            let figures = Figures::read(&stats);
            WorkerFigures {
                worker,
                cpu: 7,
                state: WorkerState::Serving,
                restarts: 1,
                last_exit: None,
                figures,
            }
        });
        let stats = ClusterStats::new(workers.collect());
        assert_eq!((stats.workers[2].worker, stats.workers[2].restarts), (2, 1));
        let total = stats.total();
        assert_eq!((total.connections, total.requests, total.bytes_sent), (3, 3, 300));
        assert_eq!(total.statuses, Statuses::from([0, 3, 0, 3, 0]));
        assert_eq!(total.latency.mean(), Duration::from_millis(2));
    }
}
