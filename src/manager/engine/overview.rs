//! How the apps are: the programs are asked, and of what has not answered in a moment is told what
//! was known last.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::api::Reply;
use super::super::app::{App, Role};
use super::super::link::Purpose;
use super::life::{Life, Sample};
use super::{Engine, Place};
use crate::control::wire::{Ask, WorkerReport};
use crate::control::{AppReport, Kind, MachineReport, ManagerReport, Overview, SCHEMA, Selector};
use crate::sys::cpu::AllowedCpus;
use crate::sys::stat::{Stat, cpu_clock};

/// How long a program may take to say how it is.
const PATIENCE: Duration = Duration::from_millis(100);
/// Samples are at least so far apart, and a rate is taken over at least half of it.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SPAN_MIN: Duration = Duration::from_millis(500);

/// Somebody who wants to know, and the programs that have not answered yet.
pub(super) struct Asking {
    pub(super) until: Instant,
    left: BTreeSet<Place>,
    what: What,
    reply: Reply,
}

enum What {
    Overview { selector: Option<Selector>, secrets: bool },
    Metrics,
}

/// What the apps have to share.
pub(super) fn machine(cpus: &AllowedCpus) -> MachineReport {
    let limits = cpus.limits();
    MachineReport {
        cpus: cpus.online(),
        allowed_cpus: cpus.ids().len(),
        cpu_quota_percent: limits.cpu_percent,
        memory_max: limits.memory,
        workers_max: cpus.max(),
        bounds: cpus.bounds(),
    }
}

impl Engine {
    pub(super) fn ask_overview(&mut self, selector: Option<Selector>, secrets: bool, reply: Reply) {
        let what = What::Overview { selector, secrets };
        self.ask_all(&Ask::Status, Purpose::Status, what, reply);
    }

    pub(super) fn ask_metrics(&mut self, reply: Reply) {
        self.ask_all(&Ask::Metrics, Purpose::Metrics, What::Metrics, reply);
    }

    fn ask_all(&mut self, ask: &Ask, purpose: Purpose, what: What, reply: Reply) {
        let mut left = BTreeSet::new();
        for (place, life) in &mut self.lives {
            let (answers, unknown) = (life.answers(), life.report.is_none());
            let Some(link) = life.link_mut().filter(|_| answers) else { continue };
            // One that has not answered the last time is not waited for again, but one of which
            // nothing is known yet has only just been asked.
            let asked = link.waits_for(purpose);
            if (asked && unknown) || (!asked && link.ask(ask.clone(), purpose)) {
                left.insert(*place);
            }
        }
        self.asking.push(Asking { until: Instant::now() + PATIENCE, left, what, reply });
        self.conclude_asking();
    }

    /// A program has said how it is.
    pub(super) fn answered(&mut self, place: Place) {
        for asking in &mut self.asking {
            if matches!(asking.what, What::Overview { .. }) {
                asking.left.remove(&place);
            }
        }
        self.conclude_asking();
    }

    /// A program has said what it counts.
    pub(super) fn metrics_answered(&mut self, place: Place, text: String) {
        if let Some(life) = self.lives.get_mut(&place) {
            life.counted = Some(text);
        }
        for asking in &mut self.asking {
            if matches!(asking.what, What::Metrics) {
                asking.left.remove(&place);
            }
        }
        self.conclude_asking();
    }

    /// What a process has counted stays counted when it has ended.
    pub(super) fn keep_counts(&mut self, id: u32, life: &Life) {
        if let (Some(text), Some(app)) = (&life.counted, self.apps.get(&id)) {
            self.counted.entry(id).or_default().add(&app.spec().name, text, false);
        }
    }

    /// A program will not answer any more.
    pub(super) fn stop_asking(&mut self, place: Place) {
        for asking in &mut self.asking {
            asking.left.remove(&place);
        }
        self.conclude_asking();
    }

    /// Answers those who have waited long enough, or need not.
    pub(super) fn conclude_asking(&mut self) {
        let now = Instant::now();
        let done = |asking: &Asking| asking.left.is_empty() || asking.until <= now;
        let ready: Vec<_> = {
            let (ready, left) = std::mem::take(&mut self.asking).into_iter().partition(done);
            self.asking = left;
            ready
        };
        for Asking { what, reply, .. } in ready {
            match what {
                What::Overview { selector, secrets } => {
                    reply.send(&self.overview(selector.as_ref(), secrets));
                    // Who asks every second is told the rates of that second.
                    self.lives.values_mut().for_each(Life::note_if_due);
                }
                What::Metrics => reply.send(&self.metrics()),
            }
        }
    }

    fn overview(&self, selector: Option<&Selector>, secrets: bool) -> Overview {
        let meant =
            |app: &&App| selector.is_none_or(|selector| selector.is(app.id(), &app.spec().name));
        let pid = std::process::id();
        Overview {
            schema: SCHEMA,
            manager: ManagerReport {
                pid,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                home: self.ground.home().map(|home| home.path().to_owned()).unwrap_or_default(),
                uptime_ms: millis(self.begun.elapsed()),
                memory_bytes: Stat::of(pid).map_or(0, |stat| stat.resident),
                machine: self.machine.clone(),
                problems: self.problems.values().cloned().collect(),
            },
            apps: self.apps.values().filter(meant).map(|app| self.report(app, secrets)).collect(),
        }
    }

    fn report(&self, app: &App, secrets: bool) -> AppReport {
        let spec = app.spec();
        let lives: Vec<_> = self.serving(app.id()).collect();
        let pids: Vec<_> = lives.iter().map(|life| life.child().pid()).collect();
        let usage: Vec<_> = lives.iter().map(|life| life.usage()).collect();
        let workers: Vec<_> = lives.iter().flat_map(|life| life.workers()).collect();
        // The sum of nothing is -0.
        let rate: f64 = workers.iter().map(|worker| worker.requests_per_second).sum();
        let kind = if spec.kind == Kind::Routes { "routes" } else { "program" };
        let definition = if secrets { spec.definition.clone() } else { spec.shown_definition() };
        let sockets = self.sockets.get(&app.id());
        let listens = sockets.map(super::Sockets::listens).filter(|it| !it.is_empty());
        AppReport {
            id: app.id(),
            name: spec.name.clone(),
            kind: kind.to_owned(),
            status: app.status(),
            pid: pids.first().copied(),
            pids,
            uptime_ms: app.online_since().map(|since| millis(since.elapsed())),
            restarts: app.restarts(),
            instances: spec.instances.clone(),
            cpu_percent: usage.iter().map(|(cpu, _)| cpu).sum::<f64>() + 0.0,
            memory_bytes: usage.iter().map(|(_, memory)| memory).sum(),
            connections: workers.iter().map(|worker| worker.connections).sum(),
            requests_per_second: rate + 0.0,
            workers,
            problem: self.problem(app),
            last_exit: app.last_exit().map(str::to_owned),
            listen: listens.unwrap_or_else(|| spec.listen.clone()),
            file: spec.file.clone(),
            cwd: spec.cwd.clone(),
            logs: self.ground.logs(spec).unwrap_or_default(),
            definition,
        }
    }

    /// What is the matter with an app.
    fn problem(&self, app: &App) -> Option<String> {
        let unheld = app.is_wanted()
            && !app.spec().listen.is_empty()
            && !self.sockets.contains_key(&app.id());
        let unheld = unheld.then(|| "its listening sockets are not held".to_owned());
        let problems = [app.problem(), unheld, self.log_problem(app)];
        let problems: Vec<_> = problems.into_iter().flatten().collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn metrics(&self) -> String {
        let of_app = |app: &App| {
            let id = app.id();
            let mut counts = self.counted.get(&id).cloned().unwrap_or_default();
            for slot in app.slots() {
                let life = self.lives.get(&(id, slot.key));
                if let Some(text) = life.and_then(|life| life.counted.as_ref()) {
                    counts.add(&app.spec().name, text, slot.role == Role::Serving);
                }
            }
            counts
        };
        let counts: Vec<_> = self.apps.values().map(of_app).collect();
        super::super::metrics::merge(&counts, self.apps.values())
    }
}

impl Life {
    /// The CPU that it uses of late, in percent, and its memory in bytes.
    fn usage(&self) -> (f64, u64) {
        let now = self.sample();
        let percent = self.before(now.at).map_or(0.0, |before| {
            let used = now.cpu.saturating_sub(before.cpu).as_secs_f64();
            100.0 * used / (now.at - before.at).as_secs_f64()
        });
        (percent, now.memory)
    }

    /// Its workers, with their rates of late.
    fn workers(&self) -> Vec<WorkerReport> {
        let mut workers = self.report.as_ref().map(|it| it.workers.clone()).unwrap_or_default();
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.requests_per_second =
                rate(&self.samples, index, worker.requests, self.reported());
        }
        workers
    }

    /// What it has used by now.
    pub(super) fn sample(&self) -> Sample {
        let pid = self.child().pid();
        let requests = self.report.iter().flat_map(|report| &report.workers);
        Sample {
            at: Instant::now(),
            cpu: cpu_clock(pid).unwrap_or_default(),
            memory: Stat::of(pid).map_or(0, |stat| stat.resident),
            requests: requests.map(|worker| worker.requests).collect(),
            reported: self.reported(),
        }
    }

    /// The latest sample that is old enough for a rate.
    fn before(&self, now: Instant) -> Option<&Sample> {
        let old = |sample: &&Sample| now.saturating_duration_since(sample.at) >= SPAN_MIN;
        self.samples.iter().flatten().rev().find(old)
    }

    /// Remembers what it has used by now, unless that was a moment ago.
    pub(super) fn note_if_due(&mut self) {
        let recent = |sample: &Sample| sample.at.elapsed() < SAMPLE_EVERY;
        if !self.samples[1].as_ref().is_some_and(recent) {
            self.note();
        }
    }

    /// Remembers what it has used by now.
    pub(super) fn note(&mut self) {
        let sample = self.sample();
        self.samples = [self.samples[1].take(), Some(sample)];
    }
}

/// Requests per second of a worker that had answered so many as of its latest report.
fn rate(samples: &[Option<Sample>; 2], worker: usize, requests: u64, reported: Instant) -> f64 {
    let since = |sample: &Sample| reported.saturating_duration_since(sample.reported);
    let mut samples = samples.iter().flatten().rev();
    let Some(before) = samples.find(|sample| since(sample) >= SPAN_MIN) else { return 0.0 };
    let earlier = before.requests.get(worker).copied().unwrap_or(requests);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let answered = requests.saturating_sub(earlier) as f64;
    answered / since(before).as_secs_f64()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_two_reports() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let sample = |noted, reported, requests| {
            let (at, reported) = (at(noted), at(reported));
            let (cpu, memory) = (Duration::ZERO, 0);
            Some(Sample { at, cpu, memory, requests: vec![requests], reported })
        };
        let cases = [
            // What was noted long after it was reported is as old as the report.
            ([None, sample(1900, 1000, 700)], 1400, 2000, 700.0),
            ([sample(0, 0, 0), sample(1000, 1000, 700)], 1400, 2000, 700.0),
            // A moment ago is too short.
            ([sample(0, 0, 0), sample(1900, 1900, 1390)], 1400, 2000, 700.0),
            // Nothing was said meanwhile.
            ([sample(1000, 1000, 700), sample(2000, 1000, 700)], 700, 1000, 0.0),
            ([None, None], 1400, 2000, 0.0),
            // Its successor counts from 0.
            ([None, sample(1000, 1000, 700)], 5, 2000, 0.0),
        ];
        for (samples, requests, reported, expected) in cases {
            let rate = rate(&samples, 0, requests, at(reported));
            assert!((rate - expected).abs() < 0.001, "{samples:?}: {rate} instead of {expected}");
        }
        let samples = [None, sample(1000, 1000, 700)];
        assert!(rate(&samples, 1, 9, at(2000)).abs() < 0.001, "a worker that is new");
    }
}
