//! Which bytes a client wants (RFC 9110, 14).

use std::ops::Range;

/// More ranges than this are an attack, or a client that is better off with all of it.
const RANGES_MAX: usize = 16;

/// What a `Range` header comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: the header is malformed, or of a unit that is not known (14.2: "MUST ignore"), or
    /// asks for too many ranges.
    Whole,
    /// These bytes, at least one.
    One(Range<u64>),
    /// Several ranges, in the order asked for, none of them empty. They may overlap.
    Several(Vec<Range<u64>>),
    /// Nothing that there is: 416.
    Unsatisfiable,
}

/// What this header selects of `length` bytes.
pub(super) fn select(header: &[u8], length: u64) -> Selection {
    let Some(set) = ranges_of_bytes(header) else { return Selection::Whole };
    let mut selected = Vec::new();
    let mut asks_for_last = false;
    let mut asked = 0;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        // 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
        if spec.is_empty() {
            continue;
        }
        let Some(range) = resolve(spec, length) else { return Selection::Whole };
        asked += 1;
        asks_for_last |=
            matches!(spec.split_once('-'), Some(("", last)) if number(last) != Some(0));
        if asked > RANGES_MAX {
            return Selection::Whole;
        }
        selected.extend((!range.is_empty()).then_some(range));
    }
    match (asked, selected.len()) {
        (0, _) => Selection::Whole,
        // 14.1.2: the last bytes of nothing are nothing, and that is satisfied.
        (_, 0) if length == 0 && asks_for_last => Selection::Whole,
        (_, 0) => Selection::Unsatisfiable,
        (_, 1) => selected.pop().map_or(Selection::Whole, Selection::One),
        _ => Selection::Several(selected),
    }
}

/// The ranges, without their unit, whose name has no case (14.1).
fn ranges_of_bytes(header: &[u8]) -> Option<&str> {
    let (unit, set) = std::str::from_utf8(header).ok()?.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(set)
}

/// One range, cut to what there is; empty if it is beyond that; `None` if it is malformed.
fn resolve(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", suffix) => {
            let wanted = number(suffix)?;
            Some(length.saturating_sub(wanted)..length)
        }
        (first, "") => Some(number(first)?.min(length)..length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            // 14.1.1: "An int-range is invalid if the last-pos value is present and less than
            // first-pos".
            (first <= last).then(|| first.min(length)..last.saturating_add(1).min(length))
        }
    }
}

/// Digits alone; what is too large is as large as can be.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Selection::{One, Several, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn selects_as_rfc_9110_14_1_2() {
        let huge = "99999999999999999999999999";
        let table = [
            // Of 10,000 bytes, as in the RFC's examples.
            ("bytes=0-499", 10_000, One(0..500)),
            ("bytes=500-999", 10_000, One(500..1000)),
            ("bytes=-500", 10_000, One(9500..10_000)),
            ("bytes=9500-", 10_000, One(9500..10_000)),
            ("bytes=0-0,-1", 10_000, Several(vec![0..1, 9999..10_000])),
            (
                "bytes= 0-999, 4500-5499, -1000",
                10_000,
                Several(vec![0..1000, 4500..5500, 9000..10_000]),
            ),
            ("bytes=500-700,601-999", 10_000, Several(vec![500..701, 601..1000])),
            // The edges.
            ("bytes=0-", 10, One(0..10)),
            ("bytes=9-9", 10, One(9..10)),
            ("bytes=9-10", 10, One(9..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-20", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=-10", 10, One(0..10)),
            ("bytes=-11", 10, One(0..10)),
            ("bytes=20-30,1-2", 10, One(1..3)),
            ("bytes=20-30,40-", 10, Unsatisfiable),
            ("bytes=0-18446744073709551615", 10, One(0..10)),
            ("bytes=0-", u64::MAX, One(0..u64::MAX)),
            // Nothing there.
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Whole),
            ("bytes=-0", 0, Unsatisfiable),
            // Of another unit, malformed.
            ("BYTES=0-1", 10, One(0..2)),
            ("items=0-1", 10, Whole),
            ("bytes", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=,,", 10, Whole),
            ("bytes=,0-1,", 10, One(0..2)),
            ("bytes=-", 10, Whole),
            ("bytes=2-1", 10, Whole),
            ("bytes=0-1,x", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=0x1-2", 10, Whole),
            ("bytes=1 - 2", 10, Whole),
            ("bytes=--1", 10, Whole),
            ("bytes=1-2-3", 10, Whole),
            ("bytes =0-1", 10, Whole),
            ("bytes=\u{661}-", 10, Whole),
        ];
        for (header, length, selection) in table {
            assert_eq!(select(header.as_bytes(), length), selection, "{header} of {length}");
        }
        assert_eq!(select(format!("bytes={huge}-").as_bytes(), 10), Unsatisfiable);
        assert_eq!(select(format!("bytes=-{huge}").as_bytes(), 10), One(0..10));
        assert_eq!(select(b"bytes=\xff-", 10), Whole);
    }

    #[test]
    fn too_many_ranges_are_not_served_apart() {
        let ask = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(select(ask(RANGES_MAX).as_bytes(), 10), Several(vec![0..1; RANGES_MAX]));
        assert_eq!(select(ask(RANGES_MAX + 1).as_bytes(), 10), Whole);
        // Those that are beyond the end count too.
        assert_eq!(select(ask(RANGES_MAX + 1).as_bytes(), 0), Whole);
    }

    proptest! {
        #[test]
        fn what_is_selected_is_there(header in "bytes=[0-9,\\- ]{0,30}", length in 0_u64..2000) {
            let ranges = match select(header.as_bytes(), length) {
                Whole | Unsatisfiable => vec![],
                One(range) => vec![range],
                Several(ranges) => {
                    prop_assert!(ranges.len() > 1);
                    ranges
                }
            };
            for range in ranges {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
