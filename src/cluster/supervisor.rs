//! The supervisor: a thread that holds the sockets, starts the workers and answers their ends.
//!
//! It never serves a request. What it decides is in `fleet`; here it is done.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use super::error::StartError;
use super::event::{Event, ExitReason, Stopped};
use super::fleet::{Effect, Fleet, Input};
use super::listen::Listeners;
use super::worker::{Birth, Life, Plan};
use crate::server::Order;
use crate::stats::WorkerStats;

/// Those who watch a cluster.
pub(super) type Observers = Vec<Box<dyn FnMut(&Event) + Send>>;

/// Whether every worker listens, or why not.
pub(super) type Ready = Sender<Result<(), StartError>>;

/// What the supervisor's thread owns.
pub(super) struct Supervisor {
    pub plan: Plan,
    pub cpus: Vec<usize>,
    pub listeners: Listeners,
    /// What to announce first.
    pub bound: Event,
    pub observers: Observers,
    pub inbox: Receiver<Input>,
    /// The other end of `inbox`, for the workers.
    pub reports: Sender<Input>,
    pub ready: Ready,
    /// At the index of each worker, its present life.
    pub lives: Vec<Option<Life>>,
    /// At the index of each worker, what it counts, over all its lives.
    pub stats: Vec<Arc<WorkerStats>>,
}

impl Supervisor {
    /// Starts the workers and keeps them until the cluster has ended.
    pub(super) fn run(mut self) -> Stopped {
        self.announce(&self.bound.clone());
        let mut fleet = Fleet::new(&self.cpus, self.plan.timeouts.drain, Instant::now());
        while !fleet.is_over() {
            let effects = fleet.tick(Instant::now());
            self.perform(effects, &mut fleet);
            if fleet.is_over() {
                break;
            }
            let Some(input) = self.wait(fleet.next_tick()) else { continue };
            if let Input::Ended(worker, _) = &input {
                self.bury(*worker);
            }
            let effects = fleet.step(input, Instant::now());
            self.perform(effects, &mut fleet);
        }
        self.finish(fleet)
    }

    /// The next thing that happens, unless `until` comes first.
    fn wait(&self, until: Option<Instant>) -> Option<Input> {
        let received = match until {
            Some(until) => self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => self.inbox.recv().map_err(RecvTimeoutError::from),
        };
        // Disconnected it cannot be: `reports` is ours.
        received.ok()
    }

    fn perform(&mut self, effects: Vec<Effect>, fleet: &mut Fleet) {
        for effect in effects {
            match effect {
                Effect::Start(worker) => self.start(worker, fleet),
                Effect::Drain(worker) => {
                    if let Some(life) = &self.lives[worker] {
                        life.order(Order::Drain);
                    }
                }
                Effect::Ready => drop(self.ready.send(Ok(()))),
                Effect::Announce(event) => self.announce(&event),
            }
        }
    }

    fn start(&mut self, worker: usize, fleet: &mut Fleet) {
        match self.bear(worker) {
            Ok(life) => self.lives[worker] = Some(life),
            Err(error) => {
                let problem = format!("cannot start: {error}");
                let ended = Input::Ended(worker, ExitReason::Failed { problem });
                let effects = fleet.step(ended, Instant::now());
                self.perform(effects, fleet);
            }
        }
    }

    fn bear(&self, worker: usize) -> io::Result<Life> {
        Life::start(Birth {
            worker,
            cpu: self.cpus[worker],
            plan: self.plan.clone(),
            listeners: self.listeners.duplicates_for(worker, self.cpus.len())?,
            stats: Arc::clone(&self.stats[worker]),
            reports: self.reports.clone(),
        })
    }

    /// Waits until the thread of an ended life is gone, before its successor is born.
    fn bury(&mut self, worker: usize) {
        if let Some(life) = self.lives[worker].take() {
            life.bury();
        }
    }

    fn announce(&mut self, event: &Event) {
        // Who only watches must not end the supervision.
        self.observers.retain_mut(|observer| {
            let seen = catch_unwind(AssertUnwindSafe(|| observer(event)));
            if seen.is_err() {
                tracing::error!("an observer of the cluster panicked and hears no more events");
            }
            seen.is_ok()
        });
    }

    /// Closes the sockets, then tells how it ended.
    fn finish(mut self, fleet: Fleet) -> Stopped {
        let (stopped, failure) = fleet.into_result();
        // `listeners` removes its Unix paths before anybody hears of the end.
        drop(std::mem::take(&mut self.listeners));
        match failure {
            Some((worker, reason)) => {
                drop(self.ready.send(Err(StartError::Worker { worker, reason })));
            }
            None => self.announce(&Event::Stopped(stopped.clone())),
        }
        stopped
    }
}
