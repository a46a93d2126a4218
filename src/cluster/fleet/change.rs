//! Changes: other workers, as a whole or not at all.

use std::time::{Duration, Instant};

use super::{
    Birth, Budget, Effect, Event, ExitReason, Fleet, Life, LifeId, Phase, Place, Renewal, SocketId,
    Target, Task, Yielding, share_of,
};

/// How long the lives that a change takes may need to be ready, and the change to be decided.
pub(super) const READY_MAX: Duration = Duration::from_secs(30);

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Change {
    target: Target,
    candidates: Vec<Candidate>,
    /// When it is given up.
    until: Instant,
}

impl Change {
    /// When it is given up.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

/// A life that will serve if all of the change's are ready.
#[derive(Debug)]
struct Candidate {
    id: LifeId,
    worker: usize,
    ready: bool,
}

impl Fleet {
    pub(super) fn change_to(&mut self, target: Target, now: Instant) {
        let refusal = match self.phase {
            _ if target.cpus.is_empty() => Some("at least one worker is needed"),
            Phase::Serving if self.change.is_none() => None,
            Phase::Serving => Some("another change is under way"),
            Phase::Starting => Some("the cluster is still starting"),
            Phase::Draining { .. } => Some("the cluster ends"),
        };
        if let Some(refusal) = refusal {
            return self.emit(Effect::Reply(target.ticket, Err(refusal.to_owned())));
        }
        let from = if target.renewal.is_some() { 0 } else { self.places.len() };
        let mut candidates = Vec::new();
        for worker in from..target.cpus.len() {
            let (id, cpu) = (self.new_id(), target.cpus[worker]);
            candidates.push(Candidate { id, worker, ready: false });
            self.announce(Event::Started { worker, cpu });
            let prepared = target.renewal.is_some();
            let stakes = Vec::new();
            self.emit(Effect::Start(Birth { id, worker, cpu, stakes, prepared }));
        }
        self.change = Some(Change { target, candidates, until: now + READY_MAX });
        self.commit_if_ready(now);
    }

    /// Whether the life that is ready was a candidate.
    pub(super) fn candidate_ready(&mut self, id: LifeId, now: Instant) -> bool {
        let candidates = self.change.iter_mut().flat_map(|change| &mut change.candidates);
        let Some(candidate) = candidates.into_iter().find(|candidate| candidate.id == id) else {
            return false;
        };
        candidate.ready = true;
        self.commit_if_ready(now);
        true
    }

    /// Whether the life that has ended was a candidate: then nothing changes.
    pub(super) fn candidate_ended(
        &mut self,
        id: LifeId,
        reason: &ExitReason,
        now: Instant,
    ) -> bool {
        let Some(change) = &mut self.change else { return false };
        let Some(at) = change.candidates.iter().position(|candidate| candidate.id == id) else {
            return false;
        };
        let worker = change.candidates.swap_remove(at).worker;
        self.announce(Event::Exited { worker, reason: reason.clone() });
        self.abandon_change(&format!("worker {worker} did not start: {reason}"), now);
        true
    }

    pub(super) fn tick_change(&mut self, now: Instant) {
        if self.change.as_ref().is_some_and(|change| change.until <= now) {
            self.abandon_change(&format!("it took longer than {READY_MAX:?}"), now);
        }
    }

    /// Gives a change up, if there is one.
    pub(super) fn abandon_change(&mut self, why: &str, now: Instant) {
        let Some(Change { target, candidates, .. }) = self.change.take() else { return };
        for Candidate { id, worker, .. } in candidates {
            self.retire(id, worker, Vec::new(), now);
        }
        self.emit(Effect::Reply(target.ticket, Err(why.to_owned())));
    }

    fn commit_if_ready(&mut self, now: Instant) {
        let Some(change) = &self.change else { return };
        if !change.candidates.iter().all(|candidate| candidate.ready) {
            return;
        }
        if change.target.renewal.is_some() {
            let ticket = change.target.ticket;
            return self.emit(Effect::Prepared(ticket));
        }
        self.commit(now);
    }

    /// Carries out, or gives up, a change that waits for the decision.
    pub(super) fn decide(&mut self, ticket: u64, go: bool, now: Instant) {
        let waits = |change: &Change| {
            let ready = change.candidates.iter().all(|candidate| candidate.ready);
            ready && change.target.ticket == ticket
        };
        match &self.change {
            Some(change) if waits(change) && go => self.commit(now),
            Some(change) if waits(change) => self.abandon_change("it was decided so", now),
            _ => self.emit(Effect::Reply(ticket, Err("it was given up meanwhile".to_owned()))),
        }
    }

    fn commit(&mut self, now: Instant) {
        let Some(Change { target, candidates, .. }) = self.change.take() else { return };
        let before: Vec<_> =
            (0..self.places.len()).map(|n| share_of(n, self.places.len(), &self.groups)).collect();
        let renewed = target.renewal.is_some();
        if let Some(Renewal { groups, rules }) = target.renewal {
            self.groups = groups;
            self.rules = rules;
        }
        let mut old = Vec::new();
        for Candidate { id, worker, .. } in candidates {
            let budget = Budget::new(self.rules.restart.clone());
            let (cpu, life) = (target.cpus[worker], Life::Listening { id, since: now });
            let place = Place { cpu, budget, life };
            match self.places.get_mut(worker) {
                Some(present) => old.push((worker, std::mem::replace(present, place).life)),
                None => self.places.push(place),
            }
        }
        let kept = target.cpus.len().min(self.places.len());
        let gone = self.places.drain(kept..).enumerate();
        old.extend(gone.map(|(at, place)| (kept + at, place.life)));
        if renewed {
            self.emit(Effect::Commit);
        }
        self.hand_over(&before, old, now);
        self.announce(Event::Scaled { workers: self.places.len() });
        self.emit(Effect::Reply(target.ticket, Ok(())));
    }

    /// The sockets go to those who shall have them. Who gives some up says so; only then do the new
    /// owners arm them for good.
    fn hand_over(&mut self, before: &[Vec<SocketId>], old: Vec<(usize, Life)>, now: Instant) {
        let renewed: Vec<_> = old.iter().map(|(worker, _)| *worker).collect();
        let mut retiring = Vec::new();
        for (worker, life) in old {
            if let Some(id) = life.id() {
                let held = before.get(worker).cloned().unwrap_or_default();
                self.leave(id, worker, held, now);
                retiring.push(id);
            }
        }
        self.note_yields(before, &renewed);
        for worker in 0..self.places.len() {
            self.tell_stakes(worker, &[]);
        }
        self.tell_peers();
        for id in retiring {
            self.emit(Effect::Tell(id, Task::Retire));
        }
    }

    /// Who is about to be told to give up sockets, by which order, has them until he says so.
    fn note_yields(&mut self, before: &[Vec<SocketId>], renewed: &[usize]) {
        let workers = self.places.len();
        let mut order = self.orders;
        for worker in 0..workers {
            let Some(id) = self.places[worker].life.id() else { continue };
            order += 1;
            let now_its = share_of(worker, workers, &self.groups);
            let had = if renewed.contains(&worker) { None } else { before.get(worker) };
            let had = had.into_iter().flatten().copied();
            let sockets: Vec<_> = had.filter(|one| !now_its.contains(one)).collect();
            if !sockets.is_empty() {
                self.yielding.push(Yielding { id, order, sockets });
            }
        }
    }
}
