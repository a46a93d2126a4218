//! What a service manager shows of a program: one line.

use std::collections::BTreeSet;

use super::announce::{one_line, place};
use super::program::Program;
use crate::cluster::Event;

/// How the clusters of a program are, and the line that says so.
#[derive(Debug, Default)]
pub(super) struct Status {
    workers: usize,
    places: Vec<String>,
    /// Programs that run beside them.
    beside: usize,
    /// Workers that have ended and whose successor does not listen yet: cluster and number.
    down: BTreeSet<(usize, usize)>,
    restarts: u64,
    /// Why the last worker was restarted.
    last: Option<String>,
}

impl Status {
    /// Of one whose clusters listen.
    pub(super) fn of(program: &Program) -> Self {
        let mut status = Self { beside: program.beside(), ..Self::default() };
        for (_, handle) in program.handles() {
            status.workers += handle.workers();
            status.places.extend(handle.addresses().iter().map(place));
        }
        status
    }

    /// Takes in what happened to a cluster, of this index; true if the line changes.
    pub(super) fn heed(&mut self, cluster: usize, event: &Event) -> bool {
        match event {
            Event::Restarting { worker, reason, .. } => {
                self.down.insert((cluster, *worker));
                self.restarts += 1;
                self.last = Some(format!("worker {worker}: {}", one_line(reason)));
                true
            }
            Event::Listening { worker, .. } => self.down.remove(&(cluster, *worker)),
            _ => false,
        }
    }

    /// The line while it serves.
    pub(super) fn line(&self) -> String {
        let Self { workers, places, beside, down, restarts, last } = self;
        let up = workers.saturating_sub(down.len());
        let noun = if *restarts == 1 { "restart" } else { "restarts" };
        let last = last.as_ref().map(|last| format!("; {restarts} {noun}, the last after {last}"));
        let (places, last) = (places.join(", "), last.unwrap_or_default());
        let listening = format!("{up} of {workers} workers listening, {places}");
        let programs = if *beside == 1 { "program" } else { "programs" };
        let all = match (workers, beside) {
            (_, 0) => listening,
            (0, _) => format!("{beside} {programs}"),
            _ => format!("{listening}; {beside} {programs}"),
        };
        format!("{all}{last}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::ExitReason;

    #[test]
    fn the_line_says_who_listens_and_what_went_wrong_last() {
        let places = vec!["http://127.0.0.1:80".to_owned(), "unix:/run/a.sock".to_owned()];
        let mut status = Status { workers: 3, places, ..Status::default() };
        let restarting = |message: &str| {
            let reason = ExitReason::Panic { message: message.to_owned(), location: None };
            Event::Restarting { worker: 1, reason, after: Duration::ZERO }
        };
        let listening = Event::Listening { worker: 1, cpu: 0 };
        let listen = "workers listening, http://127.0.0.1:80, unix:/run/a.sock";
        assert_eq!(status.line(), format!("3 of 3 {listen}"));
        // The first time nobody was missing.
        assert!(!status.heed(0, &listening));
        assert!(status.heed(0, &restarting("a\nb")));
        let last = "; 1 restart, the last after worker 1: panic: a b";
        assert_eq!(status.line(), format!("2 of 3 {listen}{last}"));
        assert!(!status.heed(1, &listening), "that is another cluster's");
        assert!(status.heed(0, &listening));
        assert_eq!(status.line(), format!("3 of 3 {listen}{last}"));
        assert!(!status.heed(0, &Event::Started { worker: 1, cpu: 0 }));
        status.heed(0, &restarting("c"));
        status.heed(0, &restarting("c"));
        let last = "; 3 restarts, the last after worker 1: panic: c";
        assert_eq!(status.line(), format!("2 of 3 {listen}{last}"));
        status.beside = 2;
        assert_eq!(status.line(), format!("2 of 3 {listen}; 2 programs{last}"));
        assert_eq!(Status { beside: 1, ..Status::default() }.line(), "1 program");
    }
}
