//! The lives that there are, and what the supervisor does with them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::event::ExitReason;
use super::fleet::LifeId;
use super::roster::Roster;
use super::worker::Life;
use crate::server::{Handed, Order, Sibling};
use crate::stats::WorkerState;
use crate::sys::thread::{self, ThreadId};

/// See the [module](self).
pub(super) struct Crew {
    roster: Arc<Roster>,
    lives: HashMap<LifeId, Life>,
    /// Those that may be given connections.
    serving: Vec<LifeId>,
    /// Connections that were on their way to a life that has ended, or is stuck.
    stray: Vec<Handed>,
}

impl Crew {
    /// Nobody yet.
    pub(super) fn new(roster: Arc<Roster>) -> Self {
        Self { roster, lives: HashMap::new(), serving: Vec::new(), stray: Vec::new() }
    }

    /// A life has begun.
    pub(super) fn enter(&mut self, id: LifeId, life: Life) {
        self.roster.enter(id, &life);
        self.lives.insert(id, life);
    }

    /// It accepts connections, or could.
    pub(super) fn note_listening(&mut self, id: LifeId) {
        if let Some(life) = self.lives.get_mut(&id) {
            life.listening = true;
            self.roster.set_state(id, WorkerState::Serving);
        }
    }

    /// Waits until the thread of an ended life is gone, before its successor is born.
    pub(super) fn bury(&mut self, id: LifeId, reason: &ExitReason) {
        let Some(life) = self.lives.remove(&id) else { return };
        if !matches!(reason, ExitReason::Drained { .. }) {
            self.roster.count_restart(life.worker);
        }
        self.stray.extend(life.bury());
        self.roster.leave(id, reason.to_string());
    }

    /// A life, as long as there is one.
    pub(super) fn get(&self, id: LifeId) -> Option<&Life> {
        self.lives.get(&id)
    }

    /// What the pulse of each life reads that has listened.
    pub(super) fn readings(&self) -> Vec<(LifeId, u64)> {
        let listened = self.lives.iter().filter(|(_, life)| life.listening);
        listened.map(|(id, life)| (*id, life.pulse.reading())).collect()
    }

    /// Tells a life.
    pub(super) fn order(&mut self, id: LifeId, order: Order) {
        let Some(life) = self.lives.get_mut(&id) else { return };
        if matches!(order, Order::Retire | Order::Drain) {
            life.leaves = true;
            self.roster.set_state(id, WorkerState::Draining);
        }
        life.order(order);
    }

    /// Does again what could not be done at once: orders that did not fit, connections that nobody
    /// took.
    pub(super) fn try_again(&mut self, ending: bool) {
        self.lives.values_mut().for_each(Life::leave_orders);
        self.place_stray();
        if ending {
            // Nobody will take them any more.
            self.stray.clear();
        }
    }

    /// These serve now: they may give connections to one another, and be given some.
    pub(super) fn introduce(&mut self, ids: Vec<LifeId>) {
        let lives = ids.iter().filter_map(|id| self.lives.get(id));
        let siblings: Arc<[Sibling]> = lives.map(Life::sibling).collect();
        for life in self.lives.values_mut() {
            life.order(Order::Siblings(Arc::clone(&siblings)));
        }
        self.serving = ids;
        self.roster.set_serving(siblings);
        self.place_stray();
    }

    /// Gives connections that nobody has to those who serve, the least loaded first.
    fn place_stray(&mut self) {
        for handed in std::mem::take(&mut self.stray) {
            let mut serving: Vec<_> =
                self.serving.iter().filter_map(|id| self.lives.get(id)).collect();
            serving.sort_by_key(|life| life.stats.connections.get());
            let admit = |handed, life: &&Life| match life.admit(handed) {
                Ok(()) => Err(()),
                Err(handed) => Ok(handed),
            };
            self.stray.extend(serving.iter().try_fold(handed, admit).ok());
        }
    }

    /// A life is stuck: others get its CPU and what was on its way to it.
    pub(super) fn isolate(&mut self, id: LifeId) {
        let Some(life) = self.lives.get(&id) else { return };
        self.stray.extend(life.close_door());
        self.roster.set_state(id, WorkerState::Stalled);
        if !life.leaves {
            self.roster.count_restart(life.worker);
        }
        self.schedule(id, thread::lower);
    }

    /// A life that was stuck is no longer.
    pub(super) fn take_back(&mut self, id: LifeId) {
        self.roster.set_state(id, WorkerState::Draining);
        self.schedule(id, thread::restore);
    }

    fn schedule(&self, id: LifeId, how: fn(ThreadId) -> io::Result<()>) {
        let Some(thread) = self.lives.get(&id).and_then(|life| life.id.get()) else { return };
        if let Err(error) = how(*thread) {
            tracing::warn!(%error, "the scheduling of a stuck worker cannot be changed");
        }
    }
}
