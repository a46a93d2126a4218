//! When requests are to be sent: pure arithmetic on the time since the start.

use std::time::Duration;

use super::{Pace, Plan, Until};

/// Nanoseconds since the start that all threads share.
pub(super) type Nanos = u64;

/// What one thread is to send.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Beat,
    /// Open loop: the index of the first request that has not been taken.
    next: u64,
    /// From when on requests count.
    measured_from: Nanos,
    /// No request begins, or is due, from here on.
    closes: Nanos,
    /// How many requests that count are left to be begun.
    left: u64,
}

/// The requests of one thread are every so manieth of all.
#[derive(Debug)]
enum Beat {
    Closed,
    Open { first: f64, interval: f64 },
}

impl Schedule {
    /// That of the thread with this index. The requests of all threads interleave evenly.
    pub(super) fn new(plan: &Plan, thread: usize, threads: usize) -> Self {
        let measured_from = nanos(plan.warm_up);
        let (closes, left) = match plan.until {
            Until::Elapsed(duration) => (measured_from.saturating_add(nanos(duration)), u64::MAX),
            Until::Requests(requests) => (Nanos::MAX, share(requests, thread, threads)),
        };
        #[expect(clippy::cast_precision_loss, reason = "a number of threads")]
        let pace = match plan.pace {
            Pace::Closed => Beat::Closed,
            Pace::Open { rate } => {
                let between = 1e9 / rate;
                Beat::Open { first: between * thread as f64, interval: between * threads as f64 }
            }
        };
        Self { pace, next: 0, measured_from, closes, left }
    }

    /// Takes the next request, if there is one by now: the moment from which its latency counts.
    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let from = match self.pace {
            Beat::Closed => now,
            Beat::Open { .. } => self.due(self.next).filter(|due| *due <= now)?,
        };
        if from >= self.closes || !self.allows(from) {
            return None;
        }
        self.next += 1;
        if self.counts(from) {
            self.left -= 1;
        }
        Some(from)
    }

    /// Open loop: when the next request is due, or was. `None` if there will be none.
    pub(super) fn next_due(&self) -> Option<Nanos> {
        self.due(self.next).filter(|due| *due < self.closes && self.allows(*due))
    }

    /// Whether a request that began, or was due, at this moment counts.
    pub(super) fn counts(&self, from: Nanos) -> bool {
        from >= self.measured_from
    }

    /// No request begins from `now` on. Of those that count, returns how many were due until then
    /// and have not been taken.
    pub(super) fn close(&mut self, now: Nanos) -> u64 {
        let closes = self.closes.min(now);
        let first = self.next.max(self.index_at(self.measured_from));
        let unsent = self.index_at(closes).saturating_sub(first).min(self.left);
        self.closes = 0;
        unsent
    }

    /// When the measured time is over, unless requests are counted.
    pub(super) fn closes(&self) -> Nanos {
        self.closes
    }

    fn allows(&self, from: Nanos) -> bool {
        self.left > 0 || !self.counts(from)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time of day or so, to the nanosecond, has fewer than 53 bits"
    )]
    fn due(&self, index: u64) -> Option<Nanos> {
        match self.pace {
            Beat::Closed => None,
            Beat::Open { first, interval } => Some((first + interval * index as f64) as Nanos),
        }
    }

    /// Open loop: the index of the first request that is not due before `moment`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as above; what is off by one is put right"
    )]
    fn index_at(&self, moment: Nanos) -> u64 {
        let Beat::Open { first, interval } = self.pace else { return 0 };
        let guess = ((moment as f64 - first) / interval).max(1.0) as u64 - 1;
        (guess..guess + 4).find(|index| self.due(*index) >= Some(moment)).unwrap_or(guess)
    }
}

/// What one of `parts` gets of `whole`.
pub(super) fn share(whole: u64, part: usize, parts: usize) -> u64 {
    let (part, parts) = (part as u64, parts as u64);
    whole / parts + u64::from(part < whole % parts)
}

/// As nanoseconds; what is longer than five hundred years is cut.
pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Target;
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn plan(pace: Pace, until: Until, warm_up: Duration) -> Plan {
        Plan {
            target: Target::Unix(PathBuf::new()),
            request: Vec::new(),
            headless_answer: false,
            connections: 1,
            threads: 1,
            pipeline: 1,
            keep_alive: true,
            pace,
            until,
            warm_up,
            timeout: Duration::from_secs(1),
            expect: None,
        }
    }

    fn open(rate: f64, until: Until, warm_up: u64, thread: usize, threads: usize) -> Schedule {
        let plan = plan(Pace::Open { rate }, until, Duration::from_secs(warm_up));
        Schedule::new(&plan, thread, threads)
    }

    fn taken(schedule: &mut Schedule, now: Nanos) -> Vec<Nanos> {
        std::iter::from_fn(|| schedule.take(now)).collect()
    }

    #[test]
    fn an_open_schedule_is_the_same_however_it_is_asked() {
        let seconds = Until::Elapsed(Duration::from_secs(2));
        let mut late = open(4.0, seconds, 0, 0, 1);
        let dues: Vec<Nanos> = (0..8).map(|k| k * SECOND / 4).collect();
        assert_eq!(taken(&mut late, Nanos::MAX), dues);
        let mut punctual = open(4.0, seconds, 0, 0, 1);
        for due in dues {
            assert_eq!(punctual.next_due(), Some(due));
            assert_eq!(punctual.take(due.saturating_sub(1)), (due == 0).then_some(0));
            if due > 0 {
                assert_eq!(punctual.take(due), Some(due));
            }
        }
        assert_eq!((punctual.next_due(), punctual.take(Nanos::MAX)), (None, None));
    }

    #[test]
    fn the_threads_of_an_open_schedule_interleave() {
        let until = Until::Elapsed(Duration::from_secs(1));
        let mut all = Vec::new();
        for thread in 0..3 {
            all.extend(taken(&mut open(10.0, until, 0, thread, 3), Nanos::MAX));
        }
        all.sort_unstable();
        assert_eq!(all, (0..10).map(|k| k * SECOND / 10).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_of_requests_is_begun_exactly_and_warm_up_is_not_of_it() {
        for threads in [1, 3, 8] {
            let begun = |pace| {
                let plan = plan(pace, Until::Requests(7), Duration::from_secs(1));
                let schedules = (0..threads).map(|thread| Schedule::new(&plan, thread, threads));
                let each = schedules.map(|mut schedule| {
                    let before = (0..5).filter(|_| schedule.take(SECOND - 1).is_some()).count();
                    assert!(pace != Pace::Closed || before == 5, "warm-up is unlimited");
                    let after: Vec<_> = (0..99).filter_map(|_| schedule.take(9 * SECOND)).collect();
                    after.into_iter().filter(|from| schedule.counts(*from)).count()
                });
                each.sum::<usize>()
            };
            assert_eq!(begun(Pace::Closed), 7, "{threads}");
            assert_eq!(begun(Pace::Open { rate: 20.0 }), 7, "{threads}");
        }
    }

    #[test]
    fn a_closed_schedule_ends_in_time() {
        let until = Until::Elapsed(Duration::from_secs(1));
        let mut schedule = Schedule::new(&plan(Pace::Closed, until, Duration::ZERO), 0, 1);
        assert_eq!(schedule.take(SECOND - 1), Some(SECOND - 1));
        assert_eq!(schedule.take(SECOND), None);
        assert_eq!(schedule.close(SECOND), 0);
    }

    #[test]
    fn what_was_due_and_not_taken_is_unsent_if_it_counts() {
        let seconds = Until::Elapsed(Duration::from_secs(2));
        let mut schedule = open(10.0, seconds, 1, 0, 1);
        assert_eq!(schedule.take(Nanos::MAX), Some(0));
        assert_eq!(schedule.close(Nanos::MAX), 20, "those of the warm-up do not count");
        assert_eq!(schedule.take(Nanos::MAX), None);

        let mut interrupted = open(10.0, seconds, 0, 0, 1);
        assert_eq!(taken(&mut interrupted, SECOND / 2).len(), 6);
        assert_eq!(interrupted.close(SECOND), 4, "0.6 to 0.9 seconds");

        let mut counted = open(10.0, Until::Requests(8), 0, 0, 1);
        assert_eq!(taken(&mut counted, SECOND / 2).len(), 6);
        assert_eq!(counted.close(9 * SECOND), 2);
    }
}
