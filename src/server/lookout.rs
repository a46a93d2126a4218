//! Who has the fewest connections, without a look at everybody for each connection.
//!
//! A sibling's gauge is written at each of its connections, so it lies in that core's cache, and
//! every look fetches it from there. With 64 workers and a connection per request, looks at all of
//! them would cost more than the connections.
//!
//! So a worker remembers what it saw. As long as connections only come, what it remembers is too
//! low at worst; and whoever seems to have the fewest is looked at once more, which makes the
//! choice the same as that of a look at all. An end of a connection elsewhere is seen a little
//! later: two siblings are looked at anew each time, in turn, and all of them after a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sibling::Sibling;
use crate::stats::WorkerStats;

/// A worker that has not looked at its rings for this long is given nothing: it may be stuck.
const RESPONSIVE_WITHIN: Duration = Duration::from_millis(10);
/// What was seen is forgotten after this long.
const FORGOTTEN_AFTER: Duration = Duration::from_millis(1);
/// So many are looked at anew each time.
const LOOKS: usize = 2;
/// Remembered of who is given nothing.
const TOO_MANY: u64 = u64::MAX;

/// What a worker knows of its siblings' connections.
pub(super) struct Lookout {
    /// All workers that serve.
    siblings: Arc<[Sibling]>,
    /// Which of them it is itself.
    own: Option<usize>,
    /// How many connections each had when it was looked at last.
    seen: Vec<u64>,
    /// When all of them were.
    looked: Option<Instant>,
    /// Who was looked at last.
    last: usize,
}

impl Lookout {
    /// Over nobody.
    pub(super) fn new() -> Self {
        Self { siblings: Arc::new([]), own: None, seen: Vec::new(), looked: None, last: 0 }
    }

    /// Over these, one of which has the figures `own` and is never chosen.
    pub(super) fn meet(&mut self, siblings: Arc<[Sibling]>, own: &Arc<WorkerStats>) {
        self.own = siblings.iter().position(|one| Arc::ptr_eq(&one.stats, own));
        self.seen = vec![TOO_MANY; siblings.len()];
        self.looked = None;
        // Not all workers begin with the same one.
        self.last = self.own.unwrap_or(0);
        self.siblings = siblings;
    }

    /// Whether there is anybody else.
    pub(super) fn has_siblings(&self) -> bool {
        self.siblings.len() > usize::from(self.own.is_some())
    }

    /// Who has the fewest connections, if that is at most `most`, to be given one more.
    pub(super) fn least(&mut self, now: Instant, most: u64) -> Option<&Sibling> {
        self.refresh(now);
        loop {
            let seen = self.seen.iter().copied().enumerate();
            let (at, fewest) = seen.min_by_key(|(_, seen)| *seen)?;
            if fewest > most || fewest == TOO_MANY {
                return None;
            }
            if self.siblings[at].pulse.busy_for(now) >= RESPONSIVE_WITHIN {
                self.seen[at] = TOO_MANY;
                continue;
            }
            self.look(at);
            // No other has fewer than was seen of it.
            if self.seen[at] <= fewest {
                self.seen[at] += 1;
                return Some(&self.siblings[at]);
            }
        }
    }

    /// Looks at some, or at all.
    fn refresh(&mut self, now: Instant) {
        let known = self.looked.is_some_and(|looked| now < looked + FORGOTTEN_AFTER);
        if !known {
            self.looked = Some(now);
        }
        let count = self.siblings.len();
        for _ in 0..if known { LOOKS.min(count) } else { count } {
            self.last = (self.last + 1) % count;
            self.look(self.last);
        }
    }

    /// Looks at one.
    fn look(&mut self, at: usize) {
        let is_self = self.own == Some(at);
        let connections = &self.siblings[at].stats.connections;
        self.seen[at] = if is_self { TOO_MANY } else { connections.get() };
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rt::mailbox;
    use crate::stats::Pulse;

    /// Siblings with so many connections, all asleep, seen by one that has `TOO_MANY`.
    fn meet(connections: &[u64]) -> (Arc<[Sibling]>, Lookout) {
        let sibling = |(worker, connections): (usize, &u64)| {
            let stats = Arc::<WorkerStats>::default();
            (0..*connections).for_each(|_| stats.connections.increment());
            let pulse = Arc::new(Pulse::new());
            pulse.rest();
            Sibling { worker, stats, pulse, door: mailbox(1).0, post: mailbox(1).0 }
        };
        let siblings: Arc<[Sibling]> = connections.iter().enumerate().map(sibling).collect();
        let mut lookout = Lookout::new();
        lookout.meet(Arc::clone(&siblings), &Arc::default());
        (siblings, lookout)
    }

    /// Whom it chooses, and who then has one more.
    fn choose(lookout: &mut Lookout, now: Instant, most: u64) -> Option<usize> {
        let least = lookout.least(now, most)?;
        least.stats.connections.increment();
        Some(least.worker)
    }

    proptest! {
        #[test]
        fn chooses_as_if_it_looked_at_all_while_connections_only_come(
            begin in vec(0_u64..4, 1..12),
            steps in vec((any::<prop::sample::Index>(), 0_u64..6), 1..60),
        ) {
            let (siblings, mut lookout) = meet(&begin);
            let now = Instant::now();
            for (other, most) in steps {
                let gauges: Vec<_> =
                    siblings.iter().map(|one| one.stats.connections.get()).collect();
                let fewest = gauges.iter().copied().min().filter(|fewest| *fewest <= most);
                let chosen = choose(&mut lookout, now, most);
                prop_assert_eq!(chosen.map(|worker| gauges[worker]), fewest);
                // Somebody else gets one, behind its back.
                other.get(&siblings).stats.connections.increment();
            }
        }
    }

    #[test]
    fn sees_that_a_connection_has_ended_after_a_while_or_a_few_looks() {
        let later = [(Duration::ZERO, 4), (FORGOTTEN_AFTER, 1)];
        for (pause, looks) in later {
            let (siblings, mut lookout) = meet(&[3; 8]);
            let now = Instant::now();
            assert_eq!(choose(&mut lookout, now, 2), None);
            siblings[5].stats.connections.decrement();
            let chosen = (0..looks).find_map(|_| choose(&mut lookout, now + pause, 2));
            assert_eq!(chosen, Some(5), "after {pause:?}");
        }
    }

    #[test]
    fn gives_nothing_to_who_may_be_stuck() {
        let (siblings, mut lookout) = meet(&[0, 2]);
        let now = Instant::now();
        siblings[0].pulse.busy(now);
        assert_eq!(choose(&mut lookout, now, 2), Some(0));
        let stuck = now + RESPONSIVE_WITHIN;
        assert_eq!(choose(&mut lookout, stuck, 2), Some(1));
        siblings[0].pulse.rest();
        assert_eq!(choose(&mut lookout, stuck, 2), Some(0), "it is looked at anew");
    }

    #[test]
    fn never_chooses_itself_or_nobody() {
        let (siblings, mut lookout) = meet(&[0, 5]);
        lookout.meet(Arc::clone(&siblings), &siblings[0].stats);
        assert!(lookout.has_siblings());
        assert_eq!(choose(&mut lookout, Instant::now(), 9), Some(1));
        lookout.meet(Arc::from(&siblings[..1]), &siblings[0].stats);
        assert!(!lookout.has_siblings());
        assert_eq!(choose(&mut lookout, Instant::now(), 9), None);
    }

    #[test]
    fn gives_up_when_nobody_is_awake() {
        let (siblings, mut lookout) = meet(&[0, 0]);
        let now = Instant::now();
        siblings.iter().for_each(|one| one.pulse.busy(now));
        assert_eq!(choose(&mut lookout, now + RESPONSIVE_WITHIN, u64::MAX), None);
    }
}
