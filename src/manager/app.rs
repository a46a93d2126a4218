//! One app: its processes, and what is being done with them.
//!
//! Like a process, it is a state machine without a clock: what has happened goes in, what is to be
//! done comes out. It has at most two generations: those that serve, and the candidates of a
//! rollout, which take their place when all of them are ready. Whoever is replaced retires.

mod job;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::{self, Process, Rules, State, Then};
use crate::cluster::Instances;
use crate::control::{Code, Kind, Spec, Status};
use crate::restart::{Restart, When};

use self::job::Job;

/// Orders that may wait for one that is being carried out.
const QUEUE_MAX: usize = 16;

/// Who waits for the end of an order, by number; nobody does if `None`.
pub(super) type Ticket = Option<u64>;

/// An app, by whatever generation.
#[derive(Debug)]
pub(super) struct App {
    id: u32,
    spec: Arc<Spec>,
    /// CPUs to be shared out.
    cpus: usize,
    slots: Vec<Slot>,
    slots_made: u32,
    /// Whether its program embeds corelane; not known before it has run.
    embeds: Option<bool>,
    job: Option<Job>,
    queue: VecDeque<(Order, Ticket)>,
    /// Since it was started or reset.
    restarts: u64,
    /// `kill` has stopped it, and not its operator.
    killed: bool,
    last_exit: Option<String>,
    effects: Vec<Effect>,
}

/// A place for a process.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its number within the app, never used again.
    pub(super) key: u32,
    pub(super) role: Role,
    /// What it is a process of.
    pub(super) spec: Arc<Spec>,
    pub(super) process: Process,
    /// It has let go of the listening sockets.
    closed: bool,
}

/// What a process is to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Serving,
    /// Of a rollout that is under way.
    Candidate,
    /// Replaced, or given up.
    Retiring,
}

/// What is wanted of an app.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    /// To be this from now on, without a moment in which it does not serve.
    Reload(Arc<Spec>),
    /// To be no more.
    Delete,
    /// To have so many workers.
    Scale(Instances),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Something with the process of this slot.
    Process(u32, process::Effect),
    /// The process of this slot is to have so many workers; say what came of it.
    AskToScale(u32, String),
    /// Tell the process of this slot that it alone accepts from the app's sockets now.
    TellAlone(u32),
    /// There is no such slot any more.
    Forget(u32),
    /// Its listening sockets are to be closed: nobody is to wait for it.
    Release,
    /// Of its listening sockets, only those of its present description are needed.
    Settle,
    /// An order has been carried out, or not.
    Finish(u64, Code, String),
    /// It is no more.
    Gone,
}

impl App {
    pub(super) fn new(id: u32, spec: Arc<Spec>, cpus: usize) -> Self {
        let embeds = (spec.kind == Kind::Routes).then_some(true);
        Self {
            id,
            spec,
            cpus,
            slots: Vec::new(),
            slots_made: 0,
            embeds,
            job: None,
            queue: VecDeque::new(),
            restarts: 0,
            killed: false,
            last_exit: None,
            effects: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn slot(&self, key: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.key == key)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    pub(super) fn last_exit(&self) -> Option<&str> {
        self.last_exit.as_deref()
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed
    }

    pub(super) fn embeds(&self) -> Option<bool> {
        self.embeds
    }

    /// Whether it is meant to run.
    pub(super) fn is_wanted(&self) -> bool {
        let up = |slot: &Slot| {
            !matches!(slot.process.state(), State::Stopped | State::Stopping { then: Then::Stay })
        };
        self.slots.iter().any(|slot| slot.role == Role::Serving && up(slot))
    }

    /// Whether nothing is being done with it.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    /// Why it is not online, if something went wrong.
    pub(super) fn problem(&self) -> Option<String> {
        let of = |slot: &Slot| Some(slot.process.problem()?.to_owned());
        self.serving().find(|slot| !slot.process.is_online()).and_then(of)
    }

    pub(super) fn status(&self) -> Status {
        if self.slots.iter().any(|slot| slot.role == Role::Candidate) {
            return Status::Reloading;
        }
        let status = |slot: &Slot| match slot.process.state() {
            State::Stopped => Status::Stopped,
            State::Online { .. } => Status::Online,
            State::Stopping { then: Then::Stay } => Status::Stopping,
            State::Launching | State::Stopping { .. } => Status::Launching,
            State::Waiting => Status::WaitingRestart,
            State::Errored => Status::Errored,
        };
        // The one that needs most attention stands for all.
        let order = [
            Status::Errored,
            Status::WaitingRestart,
            Status::Stopping,
            Status::Launching,
            Status::Online,
        ];
        let present: Vec<_> = self.serving().map(status).collect();
        order.into_iter().find(|status| present.contains(status)).unwrap_or(Status::Stopped)
    }

    /// How long it has been online: as long as the process that has been for the shortest time.
    pub(super) fn online_since(&self) -> Option<Instant> {
        let since = |slot: &Slot| match slot.process.state() {
            State::Online { since } => Some(since),
            _ => None,
        };
        self.serving().filter_map(since).max()
    }

    /// Whether another process may accept from the sockets that this slot's will have.
    pub(super) fn is_shared(&self, key: u32) -> bool {
        let other = |slot: &Slot| slot.key != key && slot.process.is_alive() && !slot.closed;
        self.slots.iter().any(other)
    }

    fn serving(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.role == Role::Serving)
    }

    /// Takes in what has happened to a process.
    pub(super) fn happened(
        &mut self,
        key: u32,
        event: process::Event,
        now: Instant,
        random: u32,
    ) -> Vec<Effect> {
        let Some(at) = self.slots.iter().position(|slot| slot.key == key) else {
            return Vec::new();
        };
        if let process::Event::Exited { how, .. } = &event {
            self.last_exit = Some(how.to_string());
        }
        let failed = match (&event, self.slots[at].role) {
            (process::Event::Exited { how, .. }, Role::Candidate) => Some(how.to_string()),
            (process::Event::SpawnFailed(problem), Role::Candidate) => Some(problem.clone()),
            (process::Event::Timeout, Role::Candidate) => {
                let waits = self.slots[at].spec.waits.ready;
                Some(format!("not ready within {:?}", Duration::from_millis(waits)))
            }
            _ => None,
        };
        match failed {
            Some(problem) => self.roll_back(key, &event, &problem, now),
            None => self.step(at, event, now, random),
        }
        self.after(now)
    }

    /// A process says that it is ready, and whether it embeds corelane.
    pub(super) fn ready(&mut self, key: u32, embeds: bool, now: Instant) -> Vec<Effect> {
        let Some(at) = self.slots.iter().position(|slot| slot.key == key) else {
            return Vec::new();
        };
        self.embeds = Some(embeds);
        self.step(at, process::Event::Ready, now, 0);
        let (role, spec) = (self.slots[at].role, Arc::clone(&self.slots[at].spec));
        // One that has been told to end meanwhile is not a reason to start any.
        if role != Role::Retiring && self.slots[at].process.is_online() {
            self.fill(role, &spec, now);
        }
        self.after(now)
    }

    /// A process has let go of the listening sockets.
    pub(super) fn closed(&mut self, key: u32) -> Vec<Effect> {
        let slot = self.slots.iter_mut().find(|slot| slot.key == key && !slot.closed);
        if let Some(slot) = slot {
            slot.closed = true;
            self.tell_alone();
        }
        std::mem::take(&mut self.effects)
    }

    /// Its count of restarts begins anew.
    pub(super) fn reset(&mut self) {
        self.restarts = 0;
    }

    /// Stops it, to be started again when the manager's world is.
    pub(super) fn kill(&mut self, ticket: Ticket, now: Instant) -> Vec<Effect> {
        let wanted = self.killed || self.is_wanted();
        let effects = self.order(Order::Stop, ticket, now);
        self.killed = wanted;
        effects
    }

    /// A process that a manager before had started. It has the key that it had.
    pub(super) fn restore(&mut self, key: u32, role: Role, spec: Arc<Spec>) {
        self.slots_made = self.slots_made.max(key);
        let process = Process::new(rules(&spec));
        self.slots.push(Slot { key, role, spec, process, closed: false });
    }

    /// It had ended too often under a manager before, and stays down until somebody steps in.
    pub(super) fn restore_errored(&mut self, problem: String) {
        self.slots_made += 1;
        let spec = Arc::clone(&self.spec);
        let process = Process::errored(rules(&spec), problem);
        let (key, role) = (self.slots_made, Role::Serving);
        self.slots.push(Slot { key, role, spec, process, closed: false });
    }

    /// What else was known of it.
    pub(super) fn recall(&mut self, restarts: u64, killed: bool, embeds: Option<bool>, made: u32) {
        (self.restarts, self.killed) = (restarts, killed);
        self.embeds = self.embeds.or(embeds);
        self.slots_made = self.slots_made.max(made);
    }

    /// The last key that it has given away.
    pub(super) fn slots_made(&self) -> u32 {
        self.slots_made
    }

    fn step(&mut self, at: usize, event: process::Event, now: Instant, random: u32) {
        let slot = &mut self.slots[at];
        let (key, ended) = (slot.key, matches!(event, process::Event::Exited { .. }));
        for effect in slot.process.step(event, now, random) {
            if effect == process::Effect::Restarted {
                self.restarts += 1;
            } else {
                self.effects.push(Effect::Process(key, effect));
            }
        }
        let slot = &mut self.slots[at];
        if ended {
            slot.closed = false;
        }
        if slot.role == Role::Retiring && slot.process.state() == State::Stopped {
            self.slots.remove(at);
            self.effects.push(Effect::Forget(key));
            self.tell_alone();
        }
    }

    fn step_all(&mut self, role: Role, event: &process::Event, now: Instant) {
        let keys: Vec<_> =
            self.slots.iter().filter(|slot| slot.role == role).map(|slot| slot.key).collect();
        for key in keys {
            if let Some(at) = self.slots.iter().position(|slot| slot.key == key) {
                self.step(at, event.clone(), now, 0);
            }
        }
    }

    /// Nobody but those who serve may be armed on the sockets any more: they are told so.
    fn tell_alone(&mut self) {
        let others =
            |slot: &Slot| slot.role != Role::Serving && slot.process.is_alive() && !slot.closed;
        if self.slots.iter().any(others) {
            return;
        }
        let keys: Vec<_> = self.serving().map(|slot| slot.key).collect();
        self.effects.extend(keys.into_iter().map(Effect::TellAlone));
    }

    /// How many processes it has.
    fn processes(&self, spec: &Spec) -> usize {
        match (self.embeds, spec.instances.parse::<Instances>()) {
            (Some(false), Ok(instances)) => instances.resolve(self.cpus),
            // One tells what the others would be.
            _ => 1,
        }
    }

    /// Gives a generation as many processes as it needs, all of them to be started.
    fn complete(&mut self, role: Role, spec: &Arc<Spec>, now: Instant) {
        self.step_all(role, &process::Event::Start, now);
        self.fill(role, spec, now);
    }

    /// Gives a generation as many processes as it needs. Those that it has stay as they are: told
    /// to end, waiting for their next start, or errored.
    fn fill(&mut self, role: Role, spec: &Arc<Spec>, now: Instant) {
        let wanted = self.processes(spec);
        let present = self.slots.iter().filter(|slot| slot.role == role).count();
        for _ in present..wanted {
            self.slots_made += 1;
            let process = Process::new(rules(spec));
            let (key, spec) = (self.slots_made, Arc::clone(spec));
            self.slots.push(Slot { key, role, spec, process, closed: false });
            self.step(self.slots.len() - 1, process::Event::Start, now, 0);
        }
        // From the end, those that are too many.
        let mut keys: Vec<_> =
            self.slots.iter().filter(|slot| slot.role == role).map(|slot| slot.key).collect();
        for key in keys.drain(wanted.min(keys.len())..).collect::<Vec<_>>() {
            self.retire(key, now);
        }
    }

    /// A process is to go, and its slot with it.
    fn retire(&mut self, key: u32, now: Instant) {
        let Some(at) = self.slots.iter().position(|slot| slot.key == key) else { return };
        self.slots[at].role = Role::Retiring;
        self.step(at, process::Event::Stop, now, 0);
        // One that did not run is gone already.
        let gone = |slot: &Slot| slot.key == key && slot.process.state() == State::Stopped;
        if let Some(at) = self.slots.iter().position(gone) {
            self.slots.remove(at);
            self.effects.push(Effect::Forget(key));
        }
    }

    fn finish(&mut self, ticket: Ticket, code: Code, message: impl Into<String>) {
        if let Some(ticket) = ticket {
            self.effects.push(Effect::Finish(ticket, code, message.into()));
        }
    }
}

/// What a description says of a process.
fn rules(spec: &Spec) -> Rules {
    let of = &spec.restart;
    let millis = Duration::from_millis;
    let restart = Restart {
        policy: match of.policy.as_str() {
            "never" => When::Never,
            "on-failure" => When::OnFailure,
            _ => When::Always,
        },
        backoff: millis(of.backoff),
        backoff_max: millis(of.backoff_max),
        max_restarts: of.max_restarts,
        within: millis(of.within),
        ..Restart::default()
    };
    Rules {
        restart,
        stop_exit_codes: of.stop_exit_codes.clone(),
        ready: millis(spec.waits.ready),
        stop: millis(spec.waits.stop),
    }
}

#[cfg(test)]
mod tests;
