//! The end of a cluster.

use std::time::{Duration, Instant};

use super::{Effect, Event, Failure, Fleet, Life, LifeId, Phase, Task};

/// How long lives may take to end once the time to drain is up.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// How long after the time to drain the connections of a life that has not cut them itself are
/// shut down from outside.
pub(super) const RELEASE_AFTER: Duration = Duration::from_millis(500);

impl Fleet {
    /// The cluster cannot go on.
    pub(super) fn fail(&mut self, failure: Failure, now: Instant) {
        self.stopped.failure.get_or_insert(failure);
        self.drain(now);
    }

    pub(super) fn drain(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Draining { .. }) {
            return;
        }
        self.announce(Event::Draining { within: self.rules.drain });
        self.wind_down(now);
    }

    pub(super) fn wind_down(&mut self, now: Instant) {
        let end = now + self.rules.drain;
        self.abandon_change("the cluster ends", now);
        let (release, until) = (Some(end + RELEASE_AFTER), end + GIVE_UP_AFTER);
        self.phase = Phase::Draining { release, until };
        for worker in 0..self.places.len() {
            match self.places[worker].life {
                // One that does not listen yet finds the order when it does.
                Life::Starting { id } | Life::Listening { id, .. } => {
                    self.accepting.push(id);
                    self.emit(Effect::Tell(id, Task::Drain));
                }
                Life::Waiting { .. } => self.places[worker].life = Life::Over,
                Life::Over => {}
            }
        }
    }

    /// A life accepts from no socket any more. After the last one, at the end, nobody does.
    pub(super) fn accepts_no_more(&mut self, id: LifeId) {
        let Some(at) = self.accepting.iter().position(|other| *other == id) else { return };
        self.accepting.swap_remove(at);
        if self.accepting.is_empty() {
            self.emit(Effect::Close);
            self.announce(Event::Closed);
        }
    }

    pub(super) fn tick_draining(&mut self, now: Instant) {
        let Phase::Draining { release, until } = self.phase else { return };
        if release.is_some_and(|release| release <= now) {
            self.phase = Phase::Draining { release: None, until };
            let ids: Vec<_> = self.places.iter().filter_map(|place| place.life.id()).collect();
            for id in ids {
                self.emit(Effect::Release(id));
            }
        }
        if until > now {
            return;
        }
        for worker in 0..self.places.len() {
            if self.places[worker].life.id().is_some() {
                self.places[worker].life = Life::Over;
                self.abandon(worker);
            }
        }
    }

    /// Waits no longer for a life.
    pub(super) fn abandon(&mut self, worker: usize) {
        self.stopped.abandoned.push(worker);
        self.announce(Event::Abandoned { worker });
    }
}
