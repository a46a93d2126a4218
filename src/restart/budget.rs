//! What a policy comes to for one worker or program, end by end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Restart, When};

/// So many restarts of a series do not wait.
const IMMEDIATE: u32 = 3;
/// A life in health of this length begins the series anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Chance adds at most a wait's so-manieth part. It never shortens one: `backoff` is a promise to
/// whoever shares the CPU.
const JITTER_PART: u32 = 5;

/// The restarts of one worker or program, as far as they still count.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    policy: Restart,
    /// Restarts since it was last healthy.
    series: u32,
    /// When those of the last `within` were granted, the oldest first; at most `max_restarts`.
    granted: VecDeque<Instant>,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to be started again, after so long.
    RestartAfter(Duration),
    /// It has been restarted too often, and stays down until somebody steps in.
    Exhausted {
        /// How often, within that time.
        restarts: u32,
        /// The time in which they were counted.
        within: Duration,
    },
    /// It has ended as it should.
    Stay,
}

impl Budget {
    /// Nothing has ended yet.
    pub(crate) fn new(policy: Restart) -> Self {
        Self { policy, series: 0, granted: VecDeque::new() }
    }

    /// It ended, after it had been healthy for as long as it `lived`: zero if it never was.
    /// `random` is any number, evenly distributed.
    pub(crate) fn ended(
        &mut self,
        lived: Duration,
        failed: bool,
        now: Instant,
        random: u32,
    ) -> Verdict {
        if !self.applies(failed) {
            return Verdict::Stay;
        }
        if lived >= HEALTHY_AFTER {
            self.series = 0;
        }
        if !self.grant(now) {
            let Restart { max_restarts, within, .. } = self.policy;
            return Verdict::Exhausted { restarts: max_restarts, within };
        }
        let wait = self.wait(random);
        self.series = self.series.saturating_add(1);
        Verdict::RestartAfter(wait)
    }

    fn applies(&self, failed: bool) -> bool {
        match self.policy.policy {
            When::Always => true,
            When::OnFailure => failed,
            When::Never => false,
        }
    }

    /// Takes a restart out of the budget, if there is one left.
    fn grant(&mut self, now: Instant) -> bool {
        let Restart { max_restarts, within, .. } = self.policy;
        // Without a budget there is nothing to remember.
        if max_restarts == u32::MAX {
            return true;
        }
        self.granted.retain(|at| now.saturating_duration_since(*at) < within);
        let left = self.granted.len() < max_restarts as usize;
        if left {
            self.granted.push_back(now);
        }
        left
    }

    /// How long the next restart of the series waits.
    fn wait(&self, random: u32) -> Duration {
        let Restart { backoff, backoff_max, .. } = self.policy;
        let Some(doublings) = self.series.checked_sub(IMMEDIATE) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let wait = backoff.saturating_mul(factor).min(backoff_max);
        let jitter = (wait / JITTER_PART).saturating_mul(random) / u32::MAX;
        wait.saturating_add(jitter)
    }
}

#[cfg(test)]
mod tests;
