//! Numbers with units: `"10s"`, `"16KiB"`.

use std::time::Duration;

use super::reader::nearest;

/// A kind of quantity, and the units it is written in.
pub(super) struct Unit {
    /// With its article, such as `a duration`.
    noun: &'static str,
    /// What one looks like.
    example: &'static str,
    /// Names and factors, the smallest first.
    factors: &'static [(&'static str, u64)],
    /// The units in which a bound is said: those of `factors` that are shown.
    shown: &'static [(&'static str, u64)],
}

const MS: u64 = 1;
const SECOND: u64 = 1000 * MS;
const MINUTE: u64 = 60 * SECOND;
/// An hour in milliseconds.
pub(super) const HOUR: u64 = 60 * MINUTE;

const KIB: u64 = 1024;
/// A mebibyte in bytes.
pub(super) const MIB: u64 = 1024 * KIB;
/// A gibibyte in bytes.
pub(super) const GIB: u64 = 1024 * MIB;

/// Durations, in milliseconds.
pub(super) const DURATION: Unit = Unit {
    noun: "a duration",
    example: "10s",
    factors: &[("ms", MS), ("s", SECOND), ("m", MINUTE), ("h", HOUR)],
    shown: &[("ms", MS), ("s", SECOND), ("m", MINUTE), ("h", HOUR)],
};

/// Sizes, in bytes.
pub(super) const SIZE: Unit = Unit {
    noun: "a size",
    example: "16KiB",
    factors: &[
        ("B", 1),
        ("KB", 1000),
        ("KiB", KIB),
        ("MB", 1_000_000),
        ("MiB", MIB),
        ("GB", 1_000_000_000),
        ("GiB", GIB),
    ],
    shown: &[("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB)],
};

/// Reads a duration as configuration files write it: `10s`.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    DURATION.parse(text).map(Duration::from_millis)
}

impl Unit {
    /// Reads a whole number and its unit, without white space: `10s`.
    pub(super) fn parse(&self, text: &str) -> Result<u64, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(format!("`{text}` is not {}", self.expected()));
        }
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit: use {}", self.expected()));
        }
        let Some((_, factor)) = self.factors.iter().find(|(name, _)| *name == unit) else {
            return Err(self.unknown(text, unit));
        };
        let number: Option<u64> = number.parse().ok();
        number
            .and_then(|number| number.checked_mul(*factor))
            .ok_or_else(|| format!("`{text}` is too large"))
    }

    /// How a bound is said: in the largest unit that leaves a whole number.
    pub(super) fn show(&self, amount: u64) -> String {
        let fits = |(_, factor): &&(&str, u64)| amount != 0 && amount.is_multiple_of(*factor);
        let (unit, factor) = self.shown.iter().rev().find(fits).unwrap_or(&self.shown[0]);
        format!("{}{unit}", amount / factor)
    }

    /// What to write instead.
    pub(super) fn expected(&self) -> String {
        format!("{} such as \"{}\"", self.noun, self.example)
    }

    fn unknown(&self, text: &str, unit: &str) -> String {
        let names = || self.factors.iter().map(|(name, _)| *name);
        let hint = nearest(unit, names()).map(|name| format!(" (did you mean `{name}`?)"));
        let known = names().collect::<Vec<_>>().join(", ");
        let hint = hint.unwrap_or_default();
        format!("unknown unit `{unit}` in `{text}`{hint}: use {}; units: {known}", self.expected())
    }
}

#[cfg(test)]
mod tests {
    use super::{DURATION, SIZE, Unit};

    fn check(unit: &Unit, good: &[(&str, u64)], bad: &[(&str, &str)]) {
        for (text, amount) in good {
            assert_eq!(unit.parse(text), Ok(*amount), "{text}");
        }
        for (text, problem) in bad {
            let message = unit.parse(text).unwrap_err();
            assert!(message.contains(problem), "{text}: {message}");
        }
    }

    #[test]
    fn reads_durations() {
        let good = [("0s", 0), ("100ms", 100), ("10s", 10_000), ("1m", 60_000), ("1h", 3_600_000)];
        let bad = [
            ("", "is not a duration such as \"10s\""),
            ("10", "has no unit"),
            ("s", "is not a duration"),
            ("-1s", "is not a duration"),
            ("+1s", "is not a duration"),
            (".5s", "is not a duration"),
            ("1.5s", "unknown unit `.5s`"),
            ("1 s", "did you mean `s`?"),
            ("1S", "did you mean `s`?"),
            ("10sec", "unknown unit `sec`"),
            ("1m30s", "unknown unit `m30s`"),
            ("18446744073709551615h", "too large"),
            ("99999999999999999999s", "too large"),
        ];
        check(&DURATION, &good, &bad);
    }

    #[test]
    fn reads_sizes() {
        let good = [
            ("0B", 0),
            ("512B", 512),
            ("1KB", 1000),
            ("8KiB", 8192),
            ("1MB", 1_000_000),
            ("1MiB", 1 << 20),
            ("2GB", 2_000_000_000),
            ("2GiB", 2 << 30),
        ];
        let bad = [
            ("8192", "has no unit"),
            ("8kib", "did you mean `KiB`?"),
            ("8K", "unknown unit `K`"),
            ("8 KiB", "did you mean `KiB`?"),
            ("18446744073709551615GiB", "too large"),
        ];
        check(&SIZE, &good, &bad);
    }

    #[test]
    fn shows_the_largest_whole_unit() {
        for (amount, text) in [(0, "0ms"), (1, "1ms"), (1500, "1500ms"), (86_400_000, "24h")] {
            assert_eq!(DURATION.show(amount), text);
        }
        for (amount, text) in [(0, "0B"), (1000, "1000B"), (8192, "8KiB"), (1 << 40, "1024GiB")] {
            assert_eq!(SIZE.show(amount), text);
        }
    }
}
