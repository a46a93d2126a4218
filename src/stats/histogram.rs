//! How long things took, counted by one thread and read by any.

use std::time::Duration;

use super::{Counter, Latency};

/// The finest difference, in nanoseconds, as a power of two.
const UNIT_BITS: u32 = 4;
/// An octave has so many cells, as a power of two: a cell is at most 1/128 of its values wide.
const OCTAVE_BITS: u32 = 7;
/// The longest duration that is told from longer ones: 137 s in nanoseconds, as a power of two.
const MAX_BITS: u32 = 37;
/// 27 KiB of counters.
const CELLS: usize = ((MAX_BITS - UNIT_BITS - OCTAVE_BITS + 1) << OCTAVE_BITS) as usize;

/// The finest difference, in nanoseconds.
pub(super) const NANOS_MIN: u64 = 1 << UNIT_BITS;
/// The longest duration that is told from longer ones, in nanoseconds.
pub(super) const NANOS_MAX: u64 = (1 << MAX_BITS) - 1;

/// A histogram of durations with a single writer. Recording is index arithmetic and a few loads
/// and stores, and never waits for who reads.
///
/// Its cells are those of an HDR histogram: below 4 microseconds all of 16 ns, above that 128 in
/// each octave. So what is read is wrong by less than 16 ns or 0.8 %. What takes longer than the
/// last cell is counted there.
#[derive(Debug)]
pub(crate) struct Histogram {
    cells: Box<[Counter]>,
    nanos: Counter,
    longest: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        let cells = std::iter::repeat_with(Counter::default).take(CELLS).collect();
        Self { cells, nanos: Counter::default(), longest: Counter::default() }
    }
}

impl Histogram {
    /// So many things took so long each.
    pub(crate) fn record(&self, duration: Duration, times: u64) {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        let nanos = nanos.saturating_add(duration.subsec_nanos().into());
        self.cells[cell_of(nanos)].add(times);
        self.nanos.add(nanos.wrapping_mul(times));
        if nanos > self.longest.get() {
            self.longest.set(nanos);
        }
    }

    /// What has been recorded. What is recorded meanwhile may be in it in part.
    pub(crate) fn snapshot(&self) -> Latency {
        let filled = self.cells.iter().enumerate().map(|(cell, count)| (cell, count.get()));
        let filled = filled.filter(|(_, count)| *count > 0);
        let cells = filled.map(|(cell, count)| (highest_of(cell), count));
        Latency::new(cells, &self.nanos, &self.longest)
    }
}

/// The cell that counts so many nanoseconds.
fn cell_of(nanos: u64) -> usize {
    let units = nanos.min(NANOS_MAX) >> UNIT_BITS;
    // The first two octaves' worth of cells are of one width.
    let octave = (units | ((2 << OCTAVE_BITS) - 1)).ilog2() - OCTAVE_BITS;
    let cell = (u64::from(octave) << OCTAVE_BITS) + (units >> octave);
    usize::try_from(cell).expect("invariant: fewer than CELLS")
}

/// The most nanoseconds that a cell counts.
fn highest_of(cell: usize) -> u64 {
    let octave = (cell >> OCTAVE_BITS).saturating_sub(1);
    let within = cell - (octave << OCTAVE_BITS);
    ((within as u64 + 1) << octave << UNIT_BITS) - 1
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Durations as likely in one octave as in another.
    fn nanos() -> impl Strategy<Value = u64> {
        (0..MAX_BITS, any::<u64>()).prop_map(|(bits, any)| (1 << bits) | (any & ((1 << bits) - 1)))
    }

    fn recorded(nanos: &[u64]) -> Latency {
        let histogram = Histogram::default();
        for &nanos in nanos {
            histogram.record(Duration::from_nanos(nanos), 1);
        }
        histogram.snapshot()
    }

    #[test]
    fn its_cells_follow_one_another_without_gaps() {
        let mut lowest = 0;
        for cell in 0..CELLS {
            let highest = highest_of(cell);
            assert_eq!((cell_of(lowest), cell_of(highest)), (cell, cell));
            lowest = highest + 1;
        }
        assert_eq!(lowest, NANOS_MAX + 1);
    }

    #[test]
    fn counts_in_the_last_cell_what_takes_too_long_for_it() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(1 << 40), 3);
        histogram.record(Duration::MAX, 1);
        let latency = histogram.snapshot();
        assert_eq!(latency.count(), 4);
        assert_eq!(latency.percentile(50.0), Duration::from_nanos(NANOS_MAX));
        assert_eq!(latency.max(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn is_read_while_it_is_written() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for round in 1..=100_000_u64 {
                    histogram.record(Duration::from_nanos(round), 2);
                }
            });
            let mut before = 0;
            while !writing.is_finished() {
                let count = histogram.snapshot().count();
                assert!(count >= before, "{count} after {before}");
                before = count;
            }
        });
        assert_eq!(histogram.snapshot().count(), 200_000);
    }

    proptest! {
        #[test]
        fn is_wrong_by_less_than_one_percent(mut exact in vec(nanos(), 1..200)) {
            let latency = recorded(&exact);
            exact.sort_unstable();
            for percentile in [0.1, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                    clippy::cast_precision_loss, reason = "a rank among 200")]
                let rank = (percentile / 100.0 * exact.len() as f64).ceil().max(1.0) as usize;
                let truth = exact[rank - 1];
                let read = u64::try_from(latency.percentile(percentile).as_nanos()).unwrap();
                let allowed = (truth / 100).max(NANOS_MIN);
                prop_assert!(read >= truth && read - truth <= allowed, "{read} for {truth}");
            }
            prop_assert_eq!(latency.count(), exact.len() as u64);
            prop_assert_eq!(latency.max(), Duration::from_nanos(*exact.last().unwrap()));
            prop_assert_eq!(latency.sum(), Duration::from_nanos(exact.iter().sum()));
        }
    }
}
