//! Lives that no longer serve, or should not: they retire, or are stuck.

use std::time::Instant;

use super::drain::{GIVE_UP_AFTER, RELEASE_AFTER};
use super::{
    Effect, Event, ExitReason, Failure, Fleet, Life, LifeId, Phase, SocketId, Stall, Task,
    Yielding, share_of,
};

/// A life that has, or will have, a successor, or needs none.
#[derive(Debug)]
pub(super) struct Leaving {
    id: LifeId,
    worker: usize,
    /// What it may still be armed on.
    held: Vec<SocketId>,
    /// It does not yield.
    stuck: bool,
    next: Step,
}

/// What is to be done next about a life that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Shut down its connections from outside, since it has not cut them itself.
    Release(Instant),
    /// Wait for it no longer.
    GiveUp(Instant),
    /// Nothing. Its thread may be stuck for ever.
    Nothing,
}

impl Leaving {
    /// When something is to be done about it.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.next {
            Step::Release(at) | Step::GiveUp(at) => Some(at),
            Step::Nothing => None,
        }
    }

    /// Takes the step that is due.
    fn step(&mut self, now: Instant, give_up: Instant) -> Option<Step> {
        let step = self.next;
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        self.next = if self.stuck { Step::Nothing } else { Step::GiveUp(give_up) };
        Some(step)
    }
}

impl Fleet {
    /// Whether somebody else may be armed on the socket who is to have it no longer. He may be held
    /// up before he hears of that, and would take the wake-ups of whoever relied on them.
    pub(super) fn is_held(&self, socket: SocketId, own: Option<LifeId>) -> bool {
        let yields = |life: &Yielding| Some(life.id) != own && life.sockets.contains(&socket);
        self.shared
            || self.leaving.iter().any(|life| life.held.contains(&socket))
            || self.yielding.iter().any(yields)
    }

    /// Whether the life leaves.
    pub(super) fn is_leaving(&self, id: LifeId) -> bool {
        self.leaving.iter().any(|life| life.id == id)
    }

    /// What a life that leaves may be armed on; no longer.
    pub(super) fn take_held(&mut self, id: LifeId) -> Vec<SocketId> {
        let life = self.leaving.iter_mut().find(|life| life.id == id);
        life.map(|life| std::mem::take(&mut life.held)).unwrap_or_default()
    }

    /// Has a life hand on its connections and end.
    pub(super) fn retire(&mut self, id: LifeId, worker: usize, held: Vec<SocketId>, now: Instant) {
        self.leave(id, worker, held, now);
        self.emit(Effect::Tell(id, Task::Retire));
    }

    /// A life leaves, and is still to be told.
    pub(super) fn leave(&mut self, id: LifeId, worker: usize, held: Vec<SocketId>, now: Instant) {
        let next = Step::Release(now + self.rules.drain + RELEASE_AFTER);
        self.leaving.push(Leaving { id, worker, held, stuck: false, next });
    }

    /// A life does not yield: a successor takes its sockets and its CPU.
    pub(super) fn stalled(&mut self, id: LifeId, stall: Stall, now: Instant) {
        let Some(worker) = self.place_of(id) else { return self.leaving_stalled(id, stall, now) };
        let listens = matches!(self.places[worker].life, Life::Listening { .. });
        if self.phase != Phase::Serving || !listens {
            return;
        }
        let mut held = share_of(worker, self.places.len(), &self.groups);
        // It does not say any more that it has given these up.
        let given = self.yielding.extract_if(.., |life| life.id == id);
        held.extend(given.flat_map(|life| life.sockets));
        let next = Step::Release(now + self.rules.drain);
        self.leaving.push(Leaving { id, worker, held: held.clone(), stuck: true, next });
        self.announce(Event::Stalled { worker, stall });
        self.emit(Effect::Lower(id));
        // It finds the order if it ever comes back.
        self.emit(Effect::Tell(id, Task::Retire));
        if self.fails_by_stalls(now) {
            self.places[worker].life = Life::Over;
            return;
        }
        self.begin(worker);
        self.rearm(&held, Some(worker));
        self.tell_peers();
    }

    /// A life that leaves does not yield: nobody knows whether it has given up its sockets, or when
    /// it ends.
    fn leaving_stalled(&mut self, id: LifeId, stall: Stall, now: Instant) {
        let serving = self.phase == Phase::Serving;
        let mut lives = self.leaving.iter_mut();
        let meant = |life: &&mut Leaving| life.id == id && !life.stuck && serving;
        let Some(life) = lives.find(meant) else { return };
        life.stuck = true;
        if matches!(life.next, Step::GiveUp(_)) {
            life.next = Step::Nothing;
        }
        let (worker, held) = (life.worker, life.held.clone());
        self.announce(Event::Stalled { worker, stall });
        self.emit(Effect::Lower(id));
        if !self.fails_by_stalls(now) {
            self.rearm(&held, None);
        }
    }

    /// Ends the cluster if too many threads are stuck.
    fn fails_by_stalls(&mut self, now: Instant) -> bool {
        let workers = self.leaving.iter().filter(|life| life.stuck).count();
        let too_many = workers > self.rules.restart.stalled_max as usize;
        if too_many {
            self.fail(Failure::Stalled { workers }, now);
        }
        too_many
    }

    /// A life that was stuck yields again: it ends what was begun, like any that retires.
    pub(super) fn moved(&mut self, id: LifeId, now: Instant) {
        let next = Step::Release(now + self.rules.drain + RELEASE_AFTER);
        let Some(life) = self.leaving.iter_mut().find(|life| life.id == id && life.stuck) else {
            return;
        };
        life.stuck = false;
        life.next = next;
        let worker = life.worker;
        self.emit(Effect::Raise(id));
        self.announce(Event::Recovered { worker });
    }

    /// Whether the life that has ended was leaving.
    pub(super) fn leaving_ended(&mut self, id: LifeId, reason: &ExitReason) -> bool {
        let Some(at) = self.leaving.iter().position(|life| life.id == id) else { return false };
        let worker = self.leaving.swap_remove(at).worker;
        self.announce(Event::Exited { worker, reason: reason.clone() });
        true
    }

    pub(super) fn tick_leaving(&mut self, now: Instant) {
        let late = matches!(self.phase, Phase::Draining { until, .. } if until <= now);
        let give_up = now + GIVE_UP_AFTER;
        let mut at = 0;
        while let Some(life) = self.leaving.get_mut(at) {
            let (id, worker, step) = (life.id, life.worker, life.step(now, give_up));
            if late || matches!(step, Some(Step::GiveUp(_))) {
                self.leaving.swap_remove(at);
                self.abandon(worker);
                continue;
            }
            if step.is_some() {
                self.emit(Effect::Release(id));
            }
            at += 1;
        }
    }
}
