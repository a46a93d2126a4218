//! What is being done with an app, one order after another.

use std::sync::Arc;
use std::time::Instant;

use super::{App, Effect, Order, QUEUE_MAX, Role, Slot, State, Status, Then, Ticket};
use crate::control::{Code, STARTED_AGAIN, Spec};
use crate::manager::process::Event;

/// An order that is being carried out.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Until all processes are online.
    Starting { ticket: Ticket },
    /// Until none runs.
    Stopping { ticket: Ticket, delete: bool },
    /// Until all candidates are ready.
    Rolling { ticket: Ticket, spec: Arc<Spec> },
    /// Until all that were replaced have ended.
    Retiring { ticket: Ticket, done: &'static str },
    /// Until the program says that it is done.
    Scaling { ticket: Ticket, instances: String },
}

impl Job {
    fn ticket(&self) -> Ticket {
        match self {
            Self::Starting { ticket }
            | Self::Stopping { ticket, .. }
            | Self::Rolling { ticket, .. }
            | Self::Retiring { ticket, .. }
            | Self::Scaling { ticket, .. } => *ticket,
        }
    }
}

impl App {
    /// Carries out an order, or has it wait for the one before. To stop or to delete waits for
    /// nobody: whatever else is under way is given up.
    pub(in crate::manager) fn order(
        &mut self,
        order: Order,
        ticket: Ticket,
        now: Instant,
    ) -> Vec<Effect> {
        let ends = matches!(order, Order::Stop | Order::Delete);
        if ends {
            let word = if order == Order::Delete { "deleted" } else { "stopped" };
            self.give_up(&format!("given up: it was {word} meanwhile"), now);
        }
        match &self.job {
            Some(_) if self.queue.len() >= QUEUE_MAX => {
                let problem = format!("{QUEUE_MAX} orders wait already; hint: try again later");
                self.finish(ticket, Code::Failed, problem);
            }
            Some(_) => self.queue.push_back((order, ticket)),
            None => self.begin(order, ticket, now),
        }
        self.after(now)
    }

    /// What the program has said to being scaled.
    pub(in crate::manager) fn scaled(
        &mut self,
        result: Result<(), String>,
        now: Instant,
    ) -> Vec<Effect> {
        let Some(Job::Scaling { ticket, instances }) = self.job.clone() else { return Vec::new() };
        self.job = None;
        match result {
            Ok(()) => {
                self.set_instances(&instances);
                self.finish(ticket, Code::Done, format!("scaled to {instances}"));
            }
            Err(problem) => self.finish(ticket, Code::Failed, format!("not scaled: {problem}")),
        }
        self.after(now)
    }

    fn begin(&mut self, order: Order, ticket: Ticket, now: Instant) {
        match order {
            Order::Start => self.start(ticket, now),
            Order::Restart => self.restart(ticket, now),
            Order::Reload(spec) => self.reload(spec, ticket, now),
            Order::Scale(instances) => self.scale(instances.to_string(), ticket, now),
            Order::Stop => self.stop(ticket, false, now),
            Order::Delete => self.stop(ticket, true, now),
        }
    }

    fn start(&mut self, ticket: Ticket, now: Instant) {
        self.killed = false;
        if self.status() == Status::Online {
            return self.finish(ticket, Code::Done, "is online already");
        }
        let spec = Arc::clone(&self.spec);
        self.complete(Role::Serving, &spec, now);
        self.job = Some(Job::Starting { ticket });
    }

    fn restart(&mut self, ticket: Ticket, now: Instant) {
        if self.is_wanted() {
            self.restarts += 1;
        }
        self.killed = false;
        self.step_all(Role::Serving, &Event::Stop, now);
        let spec = Arc::clone(&self.spec);
        self.complete(Role::Serving, &spec, now);
        self.job = Some(Job::Starting { ticket });
    }

    fn stop(&mut self, ticket: Ticket, delete: bool, now: Instant) {
        self.killed = false;
        self.step_all(Role::Serving, &Event::Stop, now);
        self.effects.push(Effect::Release);
        self.job = Some(Job::Stopping { ticket, delete });
    }

    fn reload(&mut self, spec: Arc<Spec>, ticket: Ticket, now: Instant) {
        if self.spec.kind != spec.kind {
            self.embeds = (spec.kind == crate::control::Kind::Routes).then_some(true);
        }
        self.killed = false;
        if self.status() != Status::Online {
            // There is nothing to lose.
            let old: Vec<_> = self.serving().map(|slot| slot.key).collect();
            for key in old {
                self.retire(key, now);
            }
            self.spec = spec;
            self.effects.push(Effect::Settle);
            return self.start(ticket, now);
        }
        self.complete(Role::Candidate, &spec, now);
        self.job = Some(Job::Rolling { ticket, spec });
    }

    fn scale(&mut self, instances: String, ticket: Ticket, now: Instant) {
        let live = self.embeds == Some(true);
        let serving = self.serving().next().map(|slot| slot.key);
        match serving {
            Some(key) if live && self.status() == Status::Online => {
                self.effects.push(Effect::AskToScale(key, instances.clone()));
                self.job = Some(Job::Scaling { ticket, instances });
            }
            _ => {
                self.set_instances(&instances);
                if !self.is_wanted() {
                    let message = format!("will have {instances} when it is started");
                    return self.finish(ticket, Code::Done, message);
                }
                let spec = Arc::clone(&self.spec);
                self.complete(Role::Serving, &spec, now);
                self.job = Some(Job::Starting { ticket });
            }
        }
    }

    fn set_instances(&mut self, instances: &str) {
        let number = instances.parse::<i64>().map(serde_json::Value::from);
        let value = number.unwrap_or_else(|_| instances.into());
        let spec = Arc::make_mut(&mut self.spec);
        instances.clone_into(&mut spec.instances);
        spec.definition.insert("instances".to_owned(), value);
        // A process that is started again is to have as many.
        let spec = Arc::clone(&self.spec);
        for slot in self.slots.iter_mut().filter(|slot| slot.role == Role::Serving) {
            slot.spec = Arc::clone(&spec);
        }
    }

    /// A candidate has failed: the old generation serves on.
    pub(super) fn roll_back(&mut self, key: u32, event: &Event, problem: &str, now: Instant) {
        if matches!(event, Event::Exited { .. } | Event::SpawnFailed(_))
            && let Some(at) = self.slots.iter().position(|slot| slot.key == key)
        {
            self.slots.remove(at);
            self.effects.push(Effect::Process(key, crate::manager::process::Effect::Disarm));
            self.effects.push(Effect::Forget(key));
        }
        if let Some(Job::Rolling { ticket, .. }) = self.job.take() {
            let message = format!("the new version failed: {problem}; the old one serves on");
            self.finish(ticket, Code::RolledBack, message);
        }
        self.dismiss_candidates(now);
    }

    fn dismiss_candidates(&mut self, now: Instant) {
        let candidates: Vec<_> = self
            .slots
            .iter()
            .filter(|slot| slot.role == Role::Candidate)
            .map(|slot| slot.key)
            .collect();
        for key in candidates {
            self.retire(key, now);
        }
        self.effects.push(Effect::Settle);
    }

    /// Ends what is under way, and what waits for it.
    fn give_up(&mut self, why: &str, now: Instant) {
        let job = self.job.take();
        if matches!(job, Some(Job::Rolling { .. })) {
            self.dismiss_candidates(now);
        }
        if let Some(job) = job {
            self.finish(job.ticket(), Code::Failed, why);
        }
        for (_, ticket) in std::mem::take(&mut self.queue) {
            self.finish(ticket, Code::Failed, why);
        }
    }

    /// Sees whether what is under way has come to its end, and begins what comes next.
    pub(super) fn after(&mut self, now: Instant) -> Vec<Effect> {
        loop {
            match (self.job.clone(), self.queue.is_empty()) {
                (Some(job), _) => {
                    if !self.conclude(job, now) {
                        break;
                    }
                }
                (None, true) => break,
                (None, false) => {
                    if let Some((order, ticket)) = self.queue.pop_front() {
                        self.begin(order, ticket, now);
                    }
                }
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether the job has come to its end, or to its next part.
    fn conclude(&mut self, job: Job, now: Instant) -> bool {
        match job {
            Job::Starting { ticket } => self.conclude_start(ticket),
            Job::Stopping { ticket, delete } => {
                if self.slots.iter().any(|slot| slot.process.is_alive()) {
                    return false;
                }
                self.job = None;
                if delete {
                    for slot in std::mem::take(&mut self.slots) {
                        self.effects.push(Effect::Forget(slot.key));
                    }
                    self.finish(ticket, Code::Done, "deleted");
                    for (_, ticket) in std::mem::take(&mut self.queue) {
                        self.finish(ticket, Code::Failed, "it was deleted meanwhile");
                    }
                    self.effects.push(Effect::Gone);
                } else {
                    self.finish(ticket, Code::Done, "stopped");
                }
                true
            }
            Job::Rolling { ticket, spec } => {
                let mut candidates =
                    self.slots.iter().filter(|slot| slot.role == Role::Candidate).peekable();
                if candidates.peek().is_none() || !candidates.all(|slot| slot.process.is_online()) {
                    return false;
                }
                self.promote(&spec, now);
                self.job = Some(Job::Retiring { ticket, done: "reloaded" });
                true
            }
            Job::Retiring { ticket, done } => {
                if self.slots.iter().any(|slot| slot.role == Role::Retiring) {
                    return false;
                }
                self.job = None;
                self.finish(ticket, Code::Done, done);
                true
            }
            Job::Scaling { ticket, instances } => {
                if self.status() == Status::Online {
                    return false;
                }
                self.job = None;
                self.finish(ticket, Code::Failed, format!("not scaled to {instances}: it ended"));
                true
            }
        }
    }

    fn conclude_start(&mut self, ticket: Ticket) -> bool {
        let failed = |slot: &Slot| match slot.process.state() {
            State::Errored => Some(Code::Errored),
            State::Waiting | State::Stopped | State::Stopping { then: Then::Judge } => {
                Some(Code::Failed)
            }
            State::Launching | State::Online { .. } | State::Stopping { .. } => None,
        };
        let failure = self.serving().find_map(failed);
        if let Some(code) = failure {
            self.job = None;
            let problem = self.problem().unwrap_or_else(|| "it has ended".to_owned());
            let again = match self.status() {
                Status::WaitingRestart | Status::Launching => STARTED_AGAIN,
                _ => "",
            };
            self.finish(ticket, code, format!("failed: {problem}{again}"));
            return true;
        }
        if !self.serving().all(|slot| slot.process.is_online()) {
            return false;
        }
        self.job = Some(Job::Retiring { ticket, done: "online" });
        true
    }

    /// The candidates serve from now on, and the others retire.
    fn promote(&mut self, spec: &Arc<Spec>, now: Instant) {
        let old: Vec<_> = self.serving().map(|slot| slot.key).collect();
        for slot in self.slots.iter_mut().filter(|slot| slot.role == Role::Candidate) {
            slot.role = Role::Serving;
        }
        self.spec = Arc::clone(spec);
        self.restarts += 1;
        for key in old {
            self.retire(key, now);
        }
        self.effects.push(Effect::Settle);
    }

    /// Goes on with a rollout that a manager before had begun.
    pub(in crate::manager) fn resume_rollout(&mut self) {
        let candidate = self.slots.iter().find(|slot| slot.role == Role::Candidate);
        if let Some(spec) = candidate.map(|slot| Arc::clone(&slot.spec)) {
            self.job = Some(Job::Rolling { ticket: None, spec });
        }
    }
}
