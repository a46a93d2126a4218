//! How long requests took, as of one moment.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Counter;
use super::histogram::{NANOS_MAX, NANOS_MIN};

/// With the bounds above it makes the cells of those that were recorded, so that nothing is lost on
/// the way from them.
const DIGITS: u8 = 2;

/// How long requests took, each from the moment when the worker first saw its bytes until the
/// kernel had taken the last byte of its answer.
///
/// Time that a request waits for its turn on the core is in it; time on the network, or in the
/// kernel before the worker looks, is not. An answer that could not be sent to its end is not in
/// it, and neither is a request whose head could not be read.
///
/// ```
/// use corelane::Latency;
/// use std::time::Duration;
///
/// assert_eq!(Latency::default().percentile(99.9), Duration::ZERO);
/// ```
#[derive(Clone, PartialEq)]
pub struct Latency {
    /// Of nanoseconds.
    histogram: Histogram<u64>,
    nanos: u64,
    longest: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS);
        let histogram = histogram.expect("invariant: bounds and digits that the crate allows");
        Self { histogram, nanos: 0, longest: 0 }
    }
}

impl Latency {
    /// From pairs of a duration in nanoseconds and how often there was one. The sum and the
    /// longest are read after them, so that they are not behind.
    pub(super) fn new(
        cells: impl Iterator<Item = (u64, u64)>,
        nanos: &Counter,
        longest: &Counter,
    ) -> Self {
        let mut latency = Self::default();
        for (duration, count) in cells {
            latency.histogram.saturating_record_n(duration, count);
        }
        Self { nanos: nanos.get(), longest: longest.get(), ..latency }
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// So many percent of the requests took no longer than this; zero if there were none. It is
    /// never too short, and too long by less than 0.8 % or 16 ns. Beyond 137 s it says 137 s.
    #[must_use]
    pub fn percentile(&self, percentile: f64) -> Duration {
        let nanos = self.histogram.value_at_quantile(percentile / 100.0);
        Duration::from_nanos(nanos.min(self.longest))
    }

    /// The mean, exactly; zero if there were no requests.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.nanos.checked_div(self.count()).unwrap_or(0))
    }

    /// The longest, exactly; zero if there were no requests.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// All of them together, exactly.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// How many certainly took no longer than `limit`: a cell in whose middle the limit falls is
    /// not counted, and holds what is within 0.8 % of it.
    pub(super) fn count_within(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).min(NANOS_MAX);
        let whole = self.histogram.highest_equivalent(limit) == limit;
        let last = if whole { Some(limit) } else { self.before_cell_of(limit) };
        last.map_or(0, |last| self.histogram.count_between(0, last))
    }

    fn before_cell_of(&self, nanos: u64) -> Option<u64> {
        self.histogram.lowest_equivalent(nanos).checked_sub(1)
    }

    /// Adds those of another worker.
    pub(super) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("invariant: all have the same bounds");
        self.nanos = self.nanos.wrapping_add(other.nanos);
        self.longest = self.longest.max(other.longest);
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Histogram;
    use super::*;

    fn of(millis: &[u64]) -> Latency {
        let histogram = Histogram::default();
        for &millis in millis {
            histogram.record(Duration::from_millis(millis), 1);
        }
        histogram.snapshot()
    }

    #[test]
    fn merges_as_if_one_had_recorded_all() {
        let mut one = of(&[1, 2, 1000]);
        one.merge(&of(&[3, 4, 5000]));
        assert_eq!(one, of(&[1, 2, 3, 4, 1000, 5000]));
        assert_eq!(one.mean(), Duration::from_nanos(1_001_666_666));
        assert_eq!(one.max(), Duration::from_secs(5));
    }

    #[test]
    fn counts_within_a_limit_only_what_certainly_is() {
        let latency = of(&[1, 10, 10, 100]);
        // 10.01 ms is in the same cell as 10 ms.
        let expected =
            [(900, 0), (1_010, 1), (9_900, 1), (10_010, 1), (10_100, 3), (200_000_000, 4)];
        for (micros, count) in expected {
            assert_eq!(latency.count_within(Duration::from_micros(micros)), count, "{micros}");
        }
        assert_eq!(latency.count_within(Duration::ZERO), 0);
    }

    #[test]
    fn says_nothing_of_no_requests() {
        let none = Latency::default();
        let durations = [none.mean(), none.max(), none.sum(), none.percentile(99.0)];
        assert_eq!((none.count(), durations), (0, [Duration::ZERO; 4]));
    }
}
