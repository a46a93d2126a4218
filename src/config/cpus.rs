//! Lists of CPUs: `"0-3,6"`.

use std::collections::BTreeSet;

/// The highest number a CPU of Linux can have.
const CPU_MAX: usize = 8191;

/// Reads numbers and ranges, separated by commas.
pub(super) fn parse(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, text)?, number(last, text)?);
        if first > last {
            return Err(format!("the range `{part}` runs backwards"));
        }
        for cpu in first..=last {
            if !cpus.insert(cpu) {
                return Err(format!("CPU {cpu} is named twice"));
            }
        }
    }
    Ok(cpus)
}

fn number(digits: &str, text: &str) -> Result<usize, String> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` is not a list of CPUs such as \"0-3,6\""));
    }
    let number = digits.parse().ok().filter(|number| *number <= CPU_MAX);
    number.ok_or_else(|| format!("there is no CPU {digits}: they end at {CPU_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_numbers_and_ranges() {
        let cases: [(&str, &[usize]); 5] = [
            ("0", &[0]),
            ("6,0-3", &[0, 1, 2, 3, 6]),
            ("0, 2", &[0, 2]),
            ("5-5", &[5]),
            ("8191", &[8191]),
        ];
        for (text, cpus) in cases {
            assert_eq!(parse(text).unwrap().into_iter().collect::<Vec<_>>(), cpus, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_list() {
        let cases = [
            ("", "not a list of CPUs"),
            ("0,", "not a list of CPUs"),
            ("a", "not a list of CPUs"),
            ("+1", "not a list of CPUs"),
            ("-1", "not a list of CPUs"),
            ("0-1-2", "not a list of CPUs"),
            ("3-0", "runs backwards"),
            ("0-3,2", "CPU 2 is named twice"),
            ("8192", "no CPU 8192"),
            ("0-99999999999999999999", "no CPU"),
        ];
        for (text, problem) in cases {
            let message = parse(text).unwrap_err();
            assert!(message.contains(problem), "{text}: {message}");
        }
    }
}
