//! What the operator reads on stderr.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::cluster::{Address, Event, ExitReason, Stopped};
use crate::sys::cpu;

/// Writes a line to stderr. If that is closed, serving goes on unseen.
pub(super) fn say(line: &str) {
    // One call, so that the lines of several threads do not mix.
    let _closed = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Puts the events of a cluster into words.
pub(super) struct Announcer {
    /// What every line begins with.
    prefix: String,
    /// What this process may use less of than the machine has.
    bounds: Option<String>,
    draining: bool,
}

impl Announcer {
    /// For the cluster of this name, if there are several.
    pub(super) fn new(name: Option<&str>, bounds: Option<String>) -> Self {
        let prefix = name.map_or_else(String::new, |name| format!("[{name}] "));
        Self { prefix, bounds, draining: false }
    }

    /// The lines that an event is worth.
    pub(super) fn lines(&mut self, event: &Event) -> Vec<String> {
        if let Event::Draining { .. } = event {
            self.draining = true;
        }
        let words = self.words(event);
        words.into_iter().map(|line| format!("{}{line}", self.prefix)).collect()
    }

    fn words(&self, event: &Event) -> Vec<String> {
        let line = match event {
            Event::Bound { addresses, cpus, metrics, warning } => {
                let metrics = metrics.iter().map(|at| format!("metrics: {}/metrics", place(at)));
                let warning = warning.iter().map(|warning| format!("warning: {warning}"));
                let banner = [banner(addresses, cpus, self.bounds.as_deref())].into_iter();
                return banner.chain(metrics).chain(warning).collect();
            }
            Event::Listening { worker, cpu } => format!("worker {worker} on CPU {cpu}: listening"),
            Event::Draining { within } => {
                format!("draining: no new connections, what is open may end within {within:?}")
            }
            Event::Restarting { worker, reason, .. } => {
                format!("worker {worker}: {}; restarting", one_line(reason))
            }
            Event::Exited { worker, reason } if self.draining && !is_orderly(reason) => {
                format!("worker {worker}: {}", one_line(reason))
            }
            Event::Errored { worker, reason, restarts } => {
                let times =
                    if *restarts == 1 { "once".into() } else { format!("{restarts} times") };
                format!("worker {worker}: {}; restarted {times} of late, no more", one_line(reason))
            }
            Event::Stalled { worker, stall } => {
                format!("worker {worker}: {}; a successor takes over", one_line(stall))
            }
            Event::Recovered { worker } => format!("worker {worker}: no longer stalled, retiring"),
            Event::Released { worker, connections: 1 } => {
                format!("worker {worker}: 1 connection shut down")
            }
            Event::Released { worker, connections } => {
                format!("worker {worker}: {connections} connections shut down")
            }
            Event::Scaled { workers } => format!("now {}", workers_in_words(*workers)),
            Event::SupervisorPanicked { message } => {
                format!("the supervisor panicked and goes on: {}", one_line(message))
            }
            Event::Abandoned { worker } => format!("worker {worker}: does not end, given up"),
            Event::Stopped(Stopped { cut, .. }) => {
                let noun = if *cut == 1 { "connection" } else { "connections" };
                format!("stopped: {cut} {noun} cut")
            }
            _ => return Vec::new(),
        };
        vec![line]
    }
}

fn is_orderly(reason: &ExitReason) -> bool {
    matches!(reason, ExitReason::Drained { .. })
}

/// A panic may say anything, but not more than a line, and nothing that a terminal obeys.
pub(super) fn one_line(reason: &impl ToString) -> String {
    let char = |char: char| if char.is_control() { ' ' } else { char };
    reason.to_string().chars().map(char).collect()
}

/// What is said first where nothing is built in.
pub(super) fn banner_of_programs(count: usize, bounds: Option<&str>) -> String {
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    let noun = if count == 1 { "program" } else { "programs" };
    format!("corelane {version}, pid {pid}: {count} {noun}{}", in_brackets(bounds))
}

fn in_brackets(bounds: Option<&str>) -> String {
    bounds.map_or_else(String::new, |bounds| format!(" ({bounds})"))
}

fn banner(addresses: &[Address], cpus: &[usize], bounds: Option<&str>) -> String {
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    let distinct: Vec<_> = cpus.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let workers = workers_in_words(cpus.len());
    let noun = if distinct.len() == 1 { "CPU" } else { "CPUs" };
    let list = cpu::list(&distinct);
    let places: Vec<_> = addresses.iter().map(place).collect();
    let places = places.join(", ");
    let bounds = in_brackets(bounds);
    format!(
        "corelane {version}, supervisor pid {pid}: {workers} on {noun} {list}{bounds}, {places}"
    )
}

fn workers_in_words(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}

/// An address as a client writes it.
pub(super) fn place(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn panic() -> ExitReason {
        let message = "left: 1\n\u{1b}[31mright: 2".to_owned();
        ExitReason::Panic { message, location: Some("src/a.rs:7".to_owned()) }
    }

    #[track_caller]
    fn check(announcer: &mut Announcer, event: &Event, expected: &[&str]) {
        assert_eq!(announcer.lines(event), expected);
    }

    #[test]
    fn says_who_runs_where() {
        let addresses = ["127.0.0.1:3000", "[::1]:80", "unix:/run/a.sock?mode=0600"];
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let warning = Some("crowded".to_owned());
        let metrics = Some("127.0.0.1:9100".parse().unwrap());
        let bound = Event::Bound { addresses, cpus: vec![0, 1, 0], metrics, warning };
        let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
        let banner = format!(
            "corelane {version}, supervisor pid {pid}: 3 workers on CPUs 0,1, \
             http://127.0.0.1:3000, http://[::1]:80, unix:/run/a.sock"
        );
        let mut announcer = Announcer::new(None, None);
        let metrics = "metrics: http://127.0.0.1:9100/metrics";
        check(&mut announcer, &bound, &[&banner, metrics, "warning: crowded"]);
        let listening = Event::Listening { worker: 1, cpu: 7 };
        check(&mut announcer, &listening, &["worker 1 on CPU 7: listening"]);
        check(
            &mut Announcer::new(Some("a"), None),
            &listening,
            &["[a] worker 1 on CPU 7: listening"],
        );
        let bounded = Event::Bound {
            addresses: vec!["127.0.0.1:80".parse().unwrap()],
            cpus: vec![0],
            metrics: None,
            warning: None,
        };
        let line = format!(
            "corelane {version}, supervisor pid {pid}: 1 worker on CPU 0 (CPU quota 0.5), \
             http://127.0.0.1:80"
        );
        let bounds = Some("CPU quota 0.5".to_owned());
        check(&mut Announcer::new(None, bounds.clone()), &bounded, &[&line]);
        let line = format!("corelane {version}, pid {pid}: 2 programs (CPU quota 0.5)");
        assert_eq!(banner_of_programs(2, bounds.as_deref()), line);
    }

    #[test]
    fn says_each_death_once() {
        let mut announcer = Announcer::new(None, None);
        let exited = Event::Exited { worker: 1, reason: panic() };
        let restarting = Event::Restarting { worker: 1, reason: panic(), after: Duration::ZERO };
        check(&mut announcer, &exited, &[]);
        let line = "worker 1: panic at src/a.rs:7: left: 1  [31mright: 2; restarting";
        check(&mut announcer, &restarting, &[line]);
        let draining = Event::Draining { within: Duration::from_millis(1500) };
        let line = "draining: no new connections, what is open may end within 1.5s";
        check(&mut announcer, &draining, &[line]);
        check(&mut announcer, &exited, &["worker 1: panic at src/a.rs:7: left: 1  [31mright: 2"]);
        let drained = ExitReason::Drained { cut: 1 };
        check(&mut announcer, &Event::Exited { worker: 0, reason: drained }, &[]);
        let mut stopped = Stopped::default();
        check(&mut announcer, &Event::Stopped(stopped.clone()), &["stopped: 0 connections cut"]);
        stopped.cut = 1;
        check(&mut announcer, &Event::Stopped(stopped), &["stopped: 1 connection cut"]);
    }
}
