//! Noticing workers that no longer yield.
//!
//! Pure: it is told what time it is and what the pulses of the workers read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::fleet::LifeId;

/// A stall is noticed at most this part of itself late.
const LOOKS_PER_STALL: u32 = 10;
/// However long or short a stall is, this far apart.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(500);

/// Looks at the pulses of all lives from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    stall: Duration,
    looked: Instant,
    seen: HashMap<LifeId, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    reading: u64,
    /// For how long the reading has been the same, counting only time in which the watch ran.
    still: Duration,
    stalled: bool,
}

/// What a look at a life found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It has not moved for as long as a stall takes.
    Stalled,
    /// It had not, and has now.
    Moved,
}

impl Watch {
    /// Finds stalls of this length.
    pub(super) fn new(stall: Duration, now: Instant) -> Self {
        Self { stall, looked: now, seen: HashMap::new() }
    }

    /// From now on finds stalls of this length.
    pub(super) fn set_stall(&mut self, stall: Duration) {
        self.stall = stall;
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        self.looked + self.period()
    }

    fn period(&self) -> Duration {
        (self.stall / LOOKS_PER_STALL).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// Looks at these lives, each with what its pulse reads, 0 while it sleeps.
    pub(super) fn look(&mut self, now: Instant, lives: &[(LifeId, u64)]) -> Vec<(LifeId, Finding)> {
        if now < self.next() {
            return Vec::new();
        }
        // A process that was stopped, or a machine that slept, has stopped everybody: what the
        // watch has not lived through itself does not count.
        let watched = now.duration_since(self.looked).min(self.period() * 2);
        self.looked = now;
        self.seen.retain(|life, _| lives.iter().any(|(other, _)| life == other));
        let look = |(life, reading): &(LifeId, u64)| {
            let seen = self.seen.entry(*life).or_default();
            seen.look(*reading, watched, self.stall).map(|finding| (*life, finding))
        };
        lives.iter().filter_map(look).collect()
    }
}

impl Seen {
    fn look(&mut self, reading: u64, watched: Duration, stall: Duration) -> Option<Finding> {
        let moved = reading == 0 || std::mem::replace(&mut self.reading, reading) != reading;
        if moved {
            self.still = Duration::ZERO;
            return std::mem::take(&mut self.stalled).then_some(Finding::Moved);
        }
        self.still += watched;
        if self.still < stall || self.stalled {
            return None;
        }
        self.stalled = true;
        Some(Finding::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(5);
    const LIFE: LifeId = LifeId(7);

    struct Script {
        watch: Watch,
        now: Instant,
    }

    impl Script {
        fn new() -> Self {
            let now = Instant::now();
            Self { watch: Watch::new(STALL, now), now }
        }

        /// What is found while the pulse reads this for so long, looked at as often as it is due.
        fn reads(&mut self, reading: u64, time: Duration) -> Vec<Finding> {
            let end = self.now + time;
            let mut found = Vec::new();
            while self.watch.next() <= end {
                self.now = self.watch.next();
                let findings = self.watch.look(self.now, &[(LIFE, reading)]);
                found.extend(findings.into_iter().map(|(_, finding)| finding));
            }
            self.now = end;
            found
        }
    }

    #[test]
    fn a_life_that_does_not_move_has_stalled_once() {
        let mut script = Script::new();
        assert_eq!(script.reads(1, Duration::from_millis(4900)), []);
        assert_eq!(script.reads(1, Duration::from_millis(700)), [Finding::Stalled]);
        assert_eq!(script.reads(1, 4 * STALL), []);
        assert_eq!(script.reads(2, STALL / 2), [Finding::Moved]);
        assert_eq!(script.reads(2, 2 * STALL), [Finding::Stalled]);
    }

    #[test]
    fn one_that_sleeps_or_moves_never_stalls() {
        let mut script = Script::new();
        assert_eq!(script.reads(0, 10 * STALL), []);
        for reading in 1..20 {
            assert_eq!(script.reads(reading, STALL / 2), []);
        }
    }

    #[test]
    fn time_that_the_watch_did_not_live_through_does_not_count() {
        let mut script = Script::new();
        assert_eq!(script.reads(1, STALL / 2), []);
        for _ in 0..2 {
            // Stopped for half a minute, with everybody else.
            script.now += 6 * STALL;
            assert_eq!(script.watch.look(script.now, &[(LIFE, 1)]), []);
        }
        assert_eq!(script.reads(2, STALL), []);
    }

    #[test]
    fn looks_more_often_for_short_stalls() {
        let now = Instant::now();
        let after = |stall| Watch::new(stall, now).next() - now;
        assert_eq!(after(Duration::from_secs(3600)), LOOK_MAX);
        assert_eq!(after(Duration::from_millis(100)), Duration::from_millis(10));
        assert_eq!(after(Duration::ZERO), LOOK_MIN);
    }
}
