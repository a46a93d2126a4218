//! How many workers a cluster has.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// The most workers that can be asked for.
const INSTANCES_MAX: u64 = 1024;

/// How many workers: `max`, a number, or `-1` for all CPUs but one.
///
/// ```
/// use corelane::Instances;
///
/// let instances: Instances = "-1".parse()?;
/// assert_eq!(instances.resolve(8), 7);
/// # Ok::<(), corelane::InstancesError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// One worker per CPU.
    #[default]
    Max,
    /// This many, whatever the number of CPUs.
    Exactly(NonZeroUsize),
    /// One worker per CPU, but for so many CPUs.
    AllBut(NonZeroUsize),
}

impl Instances {
    /// How many workers that is on a machine that offers so many CPUs; at least 1.
    #[must_use]
    pub fn resolve(&self, cpus: usize) -> usize {
        match self {
            Self::Max => cpus.max(1),
            Self::Exactly(count) => count.get(),
            Self::AllBut(spared) => cpus.saturating_sub(spared.get()).max(1),
        }
    }
}

/// Why a text or a number says no [`Instances`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad number of instances `{text}`: {problem}")]
pub struct InstancesError {
    text: String,
    problem: &'static str,
}

/// This many; 0 is [`Max`](Instances::Max).
impl From<usize> for Instances {
    fn from(count: usize) -> Self {
        NonZeroUsize::new(count).map_or(Self::Max, Self::Exactly)
    }
}

impl TryFrom<i64> for Instances {
    type Error = InstancesError;

    fn try_from(number: i64) -> Result<Self, InstancesError> {
        let refuse = |problem| InstancesError { text: number.to_string(), problem };
        if number.unsigned_abs() > INSTANCES_MAX {
            return Err(refuse("at most 1024 workers"));
        }
        let count = usize::try_from(number.unsigned_abs()).ok().and_then(NonZeroUsize::new);
        let count = count.ok_or_else(|| refuse("use \"max\" for one worker per CPU"))?;
        Ok(if number > 0 { Self::Exactly(count) } else { Self::AllBut(count) })
    }
}

impl FromStr for Instances {
    type Err = InstancesError;

    fn from_str(text: &str) -> Result<Self, InstancesError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number: i64 = text.parse().map_err(|_| InstancesError {
            text: text.to_owned(),
            problem: "use \"max\", a number such as 4, or -1 for all CPUs but one",
        })?;
        Self::try_from(number)
    }
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Exactly(count) => count.fmt(f),
            Self::AllBut(spared) => write!(f, "-{spared}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Instances;

    #[test]
    fn resolves_to_at_least_one_worker() {
        let cases = [
            ("max", 8, 8),
            ("max", 0, 1),
            ("4", 2, 4),
            ("1", 8, 1),
            ("-1", 8, 7),
            ("-1", 1, 1),
            ("-9", 8, 1),
            ("1024", 2, 1024),
        ];
        for (text, cpus, workers) in cases {
            let instances: Instances = text.parse().unwrap();
            assert_eq!(instances.resolve(cpus), workers, "{text} of {cpus} CPUs");
            assert_eq!(instances.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_number_of_workers() {
        for text in ["", "0", "-0", "MAX", "all", "1.5", "1025", "-1025", "99999999999999999999"] {
            assert!(text.parse::<Instances>().is_err(), "{text:?}");
        }
    }
}
