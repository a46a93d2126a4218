//! Latencies in `HdrHistogram`'s own text format, which its plotters read.

use std::fmt::{self, Display};

use hdrhistogram::Histogram;

/// Steps between one distance from 100 % and half of it, as the other implementations have them.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// A histogram of nanoseconds as a table of percentiles, in milliseconds.
pub(crate) struct Hgrm<'a>(pub &'a Histogram<u64>);

impl Display for Hgrm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(histogram) = self;
        writeln!(f, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", COLUMN)?;
        let mut total = 0;
        for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
            total += step.count_since_last_iteration();
            let value = milliseconds(to_float(step.value_iterated_to()));
            let quantile = step.quantile_iterated_to();
            write!(f, "{value:12.3} {quantile:2.12} {total:10}")?;
            // The last line has none: it would be infinite.
            if quantile < 1.0 {
                write!(f, " {:14.2}", 1.0 / (1.0 - quantile))?;
            }
            writeln!(f)?;
        }
        let (mean, deviation) = (milliseconds(histogram.mean()), milliseconds(histogram.stdev()));
        let max = milliseconds(to_float(histogram.max()));
        writeln!(f, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
        writeln!(f, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len())?;
        let (buckets, cells) = (histogram.buckets(), cells_per_bucket(histogram.sigfig()));
        writeln!(f, "#[Buckets = {buckets:12}, SubBuckets     = {cells:12}]")
    }
}

const COLUMN: &str = "1/(1-Percentile)";

fn milliseconds(nanoseconds: f64) -> f64 {
    nanoseconds / NANOSECONDS_PER_MILLISECOND
}

#[expect(clippy::cast_precision_loss, reason = "a latency in nanoseconds has no 53 bits")]
fn to_float(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

/// The cells of a bucket: enough for so many significant digits, rounded up to a power of two.
fn cells_per_bucket(digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(digits))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> String {
        let mut histogram = Histogram::new(3).unwrap();
        for latency in milliseconds {
            histogram.record(latency * 1_000_000).unwrap();
        }
        Hgrm(&histogram).to_string()
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let text = of(1..=100);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert_eq!(lines[3], "      10.002 0.100000000000         10           1.11");
        let last = lines.len() - 4;
        assert_eq!(lines[last], "     100.008 1.000000000000        100");
        assert_eq!(lines[last + 1], "#[Mean    =       50.499, StdDeviation   =       28.866]");
        assert_eq!(lines[last + 2], "#[Max     =      100.008, Total count    =          100]");
        assert!(lines[last + 3].ends_with(", SubBuckets     =         2048]"));
    }

    #[test]
    fn columns_only_grow() {
        let text = of((1..=10_000).map(|n| n * n % 997 + 1));
        let rows = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
        let rows: Vec<Vec<f64>> = rows
            .map(|row| row.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.len() > 20);
        for pair in rows.windows(2) {
            let (row, next) = (&pair[0], &pair[1]);
            assert!(row.iter().zip(next).all(|(one, other)| one <= other), "{row:?} {next:?}");
            assert_eq!(row.len(), 4, "{row:?}");
            assert!((row[3] - 1.0 / (1.0 - row[1])).abs() <= 0.01, "{row:?}");
        }
        assert_eq!(rows.last().unwrap()[1..], [1.0, 10_000.0]);
    }

    #[test]
    fn nothing_recorded_is_a_table_without_rows() {
        let text = of([]);
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert_eq!(text.lines().count(), 2 + 3);
    }
}
