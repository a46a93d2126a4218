//! What the supervisor decides: a state machine without threads, sockets or clock.
//!
//! A worker is a place: a number, a CPU, a share of the sockets. What serves there is a *life*.
//! One place has at most one life that is meant to serve; others may be *leaving*: they retire, or
//! they are stuck in a handler while a successor already serves. A *change* (another number of
//! workers, another app) first starts all the lives that it takes, its *candidates*, and happens
//! as a whole when they are ready, or not at all.

mod change;
mod drain;
mod leave;

use std::time::{Duration, Instant};

use self::change::Change;
use self::leave::Leaving;
use super::event::{Event, ExitReason, Failure, Stall, Stopped};
use super::share::{SocketId, Stake, share_of};
use crate::net::Arming;
use crate::restart::{Budget, Restart, Verdict};

/// Names one life of one worker, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LifeId(pub u64);

/// What the decisions depend on.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// How long a worker may take to end what was begun.
    pub drain: Duration,
    /// Who is restarted, and when.
    pub restart: Restart,
}

/// The workers of a cluster, and what is wanted of them.
#[derive(Debug)]
pub(super) struct Fleet {
    rules: Rules,
    phase: Phase,
    places: Vec<Place>,
    groups: Vec<Vec<SocketId>>,
    leaving: Vec<Leaving>,
    /// What serving lives have been told to stop accepting from, until they say that they have.
    yielding: Vec<Yielding>,
    change: Option<Change>,
    /// Another process accepts from the same sockets, and may be stuck.
    shared: bool,
    /// At the end, who has been told to accept no more and has not said yet that he does not.
    accepting: Vec<LifeId>,
    /// How many places, from the first, have been announced to listen for the first time.
    announced: usize,
    lives: u64,
    orders: u64,
    random: u32,
    effects: Vec<Effect>,
    stopped: Stopped,
    unstarted: Option<(usize, ExitReason)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not every worker has listened yet: one that ends now fails the start.
    Starting,
    /// A life that ends has a successor.
    Serving,
    /// A life that ends has none.
    Draining {
        /// When the connections of lives that have not cut them are shut down from outside.
        release: Option<Instant>,
        /// When nobody is waited for any more.
        until: Instant,
    },
}

#[derive(Debug)]
struct Place {
    cpu: usize,
    budget: Budget,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Starting {
        id: LifeId,
    },
    Listening {
        id: LifeId,
        since: Instant,
    },
    /// Between two lives.
    Waiting {
        until: Instant,
    },
    /// For good.
    Over,
}

impl Life {
    fn id(self) -> Option<LifeId> {
        match self {
            Self::Starting { id } | Self::Listening { id, .. } => Some(id),
            Self::Waiting { .. } | Self::Over => None,
        }
    }
}

#[derive(Debug)]
struct Yielding {
    id: LifeId,
    order: u64,
    sockets: Vec<SocketId>,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The life accepts connections; one without sockets could.
    Listening(LifeId),
    /// The life has given up the sockets that this order took from it; [`LEFT`]: all of them.
    Settled(LifeId, u64),
    /// The thread of the life is at its end.
    Ended(LifeId, ExitReason),
    /// The life does not yield.
    Stalled(LifeId, Stall),
    /// One that did not moves again.
    Moved(LifeId),
    /// The workers are to be others.
    Change(Target),
    /// A change that waits for a decision is to happen, or not to.
    Decide(u64, bool),
    /// Nobody outside accepts from these sockets any more.
    Alone,
    /// The cluster is to end.
    Drain,
}

/// The order by which a life gives up all its sockets: to retire, to drain.
pub(super) const LEFT: u64 = u64::MAX;

/// What the workers are to be.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Whom to answer.
    pub ticket: u64,
    /// The CPU of each worker.
    pub cpus: Vec<usize>,
    /// Every worker gets a new life, with what was prepared. Happens when it is decided, not as
    /// soon as it can.
    pub renewal: Option<Renewal>,
}

/// What holds after a renewal.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    pub groups: Vec<Vec<SocketId>>,
    pub rules: Rules,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start a life, which may fail: then it has ended.
    Start(Birth),
    /// Tell a life.
    Tell(LifeId, Task),
    /// The thread of a life is stuck: it gets what CPU time nobody else wants.
    Lower(LifeId),
    /// It is no longer.
    Raise(LifeId),
    /// Shut down the connections of a life, which cannot do so itself.
    Release(LifeId),
    /// These serve now, and may give connections to one another.
    Peers(Vec<LifeId>),
    /// What was prepared is what holds from now on.
    Commit,
    /// Nobody accepts any more: whoever connects is to be refused, not to wait.
    Close,
    /// Every worker listens.
    Ready,
    /// A change can happen, and waits for a decision.
    Prepared(u64),
    /// Answer who asked for a change.
    Reply(u64, Result<(), String>),
    /// Tell those who watch.
    Announce(Event),
}

/// A life to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    pub id: LifeId,
    pub worker: usize,
    pub cpu: usize,
    pub stakes: Vec<Stake>,
    /// With what was prepared, not with what holds.
    pub prepared: bool,
}

/// What a life is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Accept from these sockets and no others; say by this number that it is done.
    Listen(u64, Vec<Stake>),
    /// Accept no more, hand on the connections that are idle, end the rest.
    Retire,
    /// Accept no more, end what was begun.
    Drain,
}

impl Fleet {
    /// Workers on these CPUs, all to be started, over these sockets.
    pub(super) fn new(
        cpus: &[usize],
        groups: Vec<Vec<SocketId>>,
        rules: Rules,
        random: u32,
        now: Instant,
    ) -> Self {
        let life = Life::Waiting { until: now };
        let place = |&cpu: &usize| Place { cpu, budget: Budget::new(rules.restart.clone()), life };
        Self {
            phase: Phase::Starting,
            places: cpus.iter().map(place).collect(),
            rules,
            groups,
            leaving: Vec::new(),
            yielding: Vec::new(),
            change: None,
            shared: false,
            accepting: Vec::new(),
            announced: 0,
            lives: 0,
            orders: 0,
            random: random.max(1),
            effects: Vec::new(),
            stopped: Stopped::default(),
            unstarted: None,
        }
    }

    /// Another process accepts from the same sockets, until it is said that it does no more.
    pub(super) fn sharing(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Takes in what has happened.
    pub(super) fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match input {
            Input::Listening(id) => self.listening(id, now),
            Input::Settled(id, order) => self.settled(id, order),
            Input::Ended(id, reason) => self.ended(id, reason, now),
            Input::Stalled(id, stall) => self.stalled(id, stall, now),
            Input::Moved(id) => self.moved(id, now),
            Input::Change(target) => self.change_to(target, now),
            Input::Decide(ticket, go) => self.decide(ticket, go, now),
            Input::Alone => self.alone(),
            Input::Drain => self.drain(now),
        }
        std::mem::take(&mut self.effects)
    }

    /// Does what is due by now.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        for worker in 0..self.places.len() {
            if matches!(self.places[worker].life, Life::Waiting { until } if until <= now) {
                self.begin(worker);
            }
        }
        self.tick_change(now);
        self.tick_leaving(now);
        self.tick_draining(now);
        std::mem::take(&mut self.effects)
    }

    /// When `tick` has something to do next, if nothing happens before.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let restarts = self.places.iter().filter_map(|place| match place.life {
            Life::Waiting { until } => Some(until),
            _ => None,
        });
        let leaves = self.leaving.iter().filter_map(Leaving::due);
        let end = match self.phase {
            Phase::Draining { release, until } => Some(release.unwrap_or(until)),
            Phase::Starting | Phase::Serving => None,
        };
        let change = self.change.as_ref().map(Change::until);
        restarts.chain(leaves).chain(end).chain(change).min()
    }

    /// Whether the cluster is to end.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether something would be done about a stall of this life.
    pub(super) fn minds_stall_of(&self, id: LifeId) -> bool {
        let listens =
            |place: &Place| matches!(place.life, Life::Listening { id: own, .. } if own == id);
        let serves = self.phase == Phase::Serving && self.places.iter().any(listens);
        serves || self.is_leaving(id)
    }

    /// Whether there is nothing left to supervise.
    pub(super) fn is_over(&self) -> bool {
        self.is_ending()
            && self.places.iter().all(|place| place.life == Life::Over)
            && self.leaving.is_empty()
    }

    /// How it ended, and which worker's failure ended it before every worker had listened.
    pub(super) fn into_result(self) -> (Stopped, Option<(usize, ExitReason)>) {
        (self.stopped, self.unstarted)
    }

    /// What its decisions depend on.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn announce(&mut self, event: Event) {
        self.emit(Effect::Announce(event));
    }

    fn new_id(&mut self) -> LifeId {
        self.lives += 1;
        LifeId(self.lives)
    }

    /// Starts a life at a place.
    fn begin(&mut self, worker: usize) {
        let (id, cpu) = (self.new_id(), self.places[worker].cpu);
        self.places[worker].life = Life::Starting { id };
        self.announce(Event::Started { worker, cpu });
        let stakes = self.stakes(worker, &[]);
        self.emit(Effect::Start(Birth { id, worker, cpu, stakes, prepared: false }));
    }

    /// The sockets of a place, those of `rearm` to be armed anew.
    fn stakes(&self, worker: usize, rearm: &[SocketId]) -> Vec<Stake> {
        let own = self.places[worker].life.id();
        let stake = |socket: SocketId| Stake {
            socket,
            arming: if self.is_held(socket, own) { Arming::Watch } else { Arming::Accept },
            rearm: rearm.contains(&socket),
        };
        share_of(worker, self.places.len(), &self.groups).into_iter().map(stake).collect()
    }

    /// Tells a place's life what to accept from.
    fn tell_stakes(&mut self, worker: usize, rearm: &[SocketId]) {
        let Some(id) = self.places[worker].life.id() else { return };
        self.orders += 1;
        let stakes = self.stakes(worker, rearm);
        self.emit(Effect::Tell(id, Task::Listen(self.orders, stakes)));
    }

    /// Whoever else accepted from these sockets is gone, and may have taken wake-ups along.
    fn alone(&mut self) {
        self.shared = false;
        let sockets = self.groups.concat();
        self.rearm(&sockets, None);
    }

    /// Somebody who was armed on these sockets is gone, or is stuck: whoever else accepts from them
    /// arms anew, lest a wake-up be lost.
    fn rearm(&mut self, sockets: &[SocketId], except: Option<usize>) {
        for worker in (0..self.places.len()).filter(|worker| Some(*worker) != except) {
            let share = share_of(worker, self.places.len(), &self.groups);
            if share.iter().any(|socket| sockets.contains(socket)) {
                self.tell_stakes(worker, sockets);
            }
        }
    }

    /// Says who serves.
    fn tell_peers(&mut self) {
        let listening = self.places.iter().filter_map(|place| match place.life {
            Life::Listening { id, .. } => Some(id),
            _ => None,
        });
        let peers = listening.collect();
        self.emit(Effect::Peers(peers));
    }

    fn place_of(&self, id: LifeId) -> Option<usize> {
        self.places.iter().position(|place| place.life.id() == Some(id))
    }

    fn listening(&mut self, id: LifeId, now: Instant) {
        if self.candidate_ready(id, now) {
            return;
        }
        let Some(worker) = self.place_of(id) else { return };
        let Life::Starting { id } = self.places[worker].life else { return };
        self.places[worker].life = Life::Listening { id, since: now };
        if self.phase != Phase::Starting {
            self.announce_listening(worker);
            return self.tell_peers();
        }
        // At the first start in the order of their numbers: one start reads like another.
        let listens = |place: &&Place| matches!(place.life, Life::Listening { .. });
        let until = self.places.iter().take_while(listens).count();
        for worker in std::mem::replace(&mut self.announced, until)..until {
            self.announce_listening(worker);
        }
        if until == self.places.len() {
            self.phase = Phase::Serving;
            self.tell_peers();
            self.emit(Effect::Ready);
        }
    }

    fn announce_listening(&mut self, worker: usize) {
        self.announce(Event::Listening { worker, cpu: self.places[worker].cpu });
    }

    fn settled(&mut self, id: LifeId, order: u64) {
        let done = |yielding: &mut Yielding| yielding.id == id && yielding.order <= order;
        let given: Vec<_> = self.yielding.extract_if(.., done).collect();
        let mut sockets: Vec<_> = given.into_iter().flat_map(|yielding| yielding.sockets).collect();
        if order == LEFT {
            sockets.extend(self.take_held(id));
            self.accepts_no_more(id);
        }
        if !sockets.is_empty() {
            self.rearm(&sockets, None);
        }
    }

    fn ended(&mut self, id: LifeId, reason: ExitReason, now: Instant) {
        if let ExitReason::Drained { cut } = reason {
            self.stopped.cut += cut;
        }
        self.settled(id, LEFT);
        if self.leaving_ended(id, &reason) || self.candidate_ended(id, &reason, now) {
            return;
        }
        // Abandoned before.
        let Some(worker) = self.place_of(id) else { return };
        self.announce(Event::Exited { worker, reason: reason.clone() });
        match self.phase {
            Phase::Starting => {
                self.places[worker].life = Life::Over;
                self.unstarted = Some((worker, reason));
                self.wind_down(now);
            }
            Phase::Serving => self.succeed(worker, reason, now),
            Phase::Draining { .. } => self.places[worker].life = Life::Over,
        }
    }

    /// A life has ended that was not told to: it has a successor, if there is one to be had.
    fn succeed(&mut self, worker: usize, reason: ExitReason, now: Instant) {
        let lived = match self.places[worker].life {
            Life::Listening { since, .. } => now.duration_since(since),
            Life::Starting { .. } | Life::Waiting { .. } | Life::Over => Duration::ZERO,
        };
        let random = self.next_random();
        let place = &mut self.places[worker];
        let restarts = match place.budget.ended(lived, true, now, random) {
            Verdict::RestartAfter(after) => {
                place.life = Life::Waiting { until: now + after };
                self.announce(Event::Restarting { worker, reason, after });
                let share = share_of(worker, self.places.len(), &self.groups);
                self.rearm(&share, Some(worker));
                return self.tell_peers();
            }
            Verdict::Exhausted { restarts, .. } => restarts,
            Verdict::Stay => 0,
        };
        place.life = Life::Over;
        self.announce(Event::Errored { worker, reason: reason.clone(), restarts });
        self.fail(Failure::Errored { worker, reason }, now);
    }

    /// Xorshift: jitter needs no better.
    fn next_random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

#[cfg(test)]
mod tests;
