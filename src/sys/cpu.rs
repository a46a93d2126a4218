//! The CPUs that this process may use.

use std::io;

/// The CPUs that the process may run on, and how many of them its cgroup lets it fill.
///
/// Both are read from the calling thread, so capture them once, before anything pins that thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedCpus {
    ids: Vec<usize>,
    quota: usize,
}

impl AllowedCpus {
    /// Asks the kernel for the affinity of the calling thread and the cgroup for its quota.
    pub(crate) fn capture() -> io::Result<Self> {
        let cores = core_affinity::get_core_ids().filter(|cores| !cores.is_empty());
        let cores = cores.ok_or_else(|| io::Error::other("the kernel does not say which CPUs"))?;
        Ok(Self::new(cores.into_iter().map(|core| core.id).collect(), num_cpus::get()))
    }

    fn new(mut ids: Vec<usize>, quota: usize) -> Self {
        ids.sort_unstable();
        Self { ids, quota: quota.max(1) }
    }

    /// The CPUs' numbers, ascending; never empty.
    pub(crate) fn ids(&self) -> &[usize] {
        &self.ids
    }

    /// How many workers `"max"` means: as many as there are CPUs, and no more than the quota feeds.
    pub(crate) fn max(&self) -> usize {
        self.ids.len().min(self.quota)
    }
}

/// CPU numbers as people write them: `0,1` or `0-3,6`.
pub(crate) fn list(ids: &[usize]) -> String {
    ids.chunk_by(|a, b| a.checked_add(1) == Some(*b))
        .map(|run| match run {
            [one] => one.to_string(),
            [first, second] => format!("{first},{second}"),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_is_the_smaller_of_allowed_cpus_and_quota() {
        for (ids, quota, max) in [(4, 8, 4), (4, 2, 2), (1, 1, 1), (2, 0, 1)] {
            assert_eq!(AllowedCpus::new((0..ids).collect(), quota).max(), max, "{ids} {quota}");
        }
    }

    #[test]
    fn what_was_captured_outlives_a_pin() {
        let (before, after) = std::thread::spawn(|| {
            let before = AllowedCpus::capture().unwrap();
            let first = core_affinity::CoreId { id: before.ids()[0] };
            assert!(core_affinity::set_for_current(first));
            (before, AllowedCpus::capture().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!(after.ids(), &before.ids()[..1]);
        assert!(before.ids().is_sorted());
    }

    #[test]
    fn lists_cpus_as_people_write_them() {
        for (ids, text) in [
            (&[][..], ""),
            (&[3], "3"),
            (&[0, 1], "0,1"),
            (&[0, 1, 2, 3, 6], "0-3,6"),
            (&[0, 2, 3, 5, 6, 7], "0,2,3,5-7"),
        ] {
            assert_eq!(list(ids), text);
        }
    }
}
