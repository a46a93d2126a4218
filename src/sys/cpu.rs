//! The CPUs that this process may use.

#![expect(unsafe_code, reason = "the standard library does not say how many CPUs there are")]

use std::io;

use super::cgroup::Limits;

/// The CPUs that the process may run on, and how many of them its cgroup lets it fill.
///
/// Both are read from the calling thread, so capture them once, before anything pins that thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedCpus {
    ids: Vec<usize>,
    quota: usize,
    /// CPUs of the machine that are switched on.
    online: usize,
    limits: Limits,
}

impl AllowedCpus {
    /// Asks the kernel for the affinity of the calling thread and the cgroup for its quota.
    pub(crate) fn capture() -> io::Result<Self> {
        let cores = core_affinity::get_core_ids().filter(|cores| !cores.is_empty());
        let cores = cores.ok_or_else(|| io::Error::other("the kernel does not say which CPUs"))?;
        let ids = cores.into_iter().map(|core| core.id).collect();
        Ok(Self::new(ids, num_cpus::get(), online(), Limits::of_process()))
    }

    fn new(mut ids: Vec<usize>, quota: usize, online: usize, limits: Limits) -> Self {
        ids.sort_unstable();
        // Groups above one's own limit as well.
        let share = limits.cpu_percent.map(|percent| percent.div_ceil(100));
        let share = share.and_then(|share| usize::try_from(share).ok()).unwrap_or(usize::MAX);
        let online = online.max(ids.len());
        Self { ids, quota: quota.min(share).max(1), online, limits }
    }

    /// The CPUs' numbers, ascending; never empty.
    pub(crate) fn ids(&self) -> &[usize] {
        &self.ids
    }

    /// How many workers `"max"` means: as many as there are CPUs, and no more than the quota feeds.
    pub(crate) fn max(&self) -> usize {
        self.ids.len().min(self.quota)
    }

    /// What its control groups allow.
    #[cfg(feature = "cli")]
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// How many CPUs the machine has.
    #[cfg(feature = "cli")]
    pub(crate) fn online(&self) -> usize {
        self.online
    }

    /// What this process may use less of than the machine has; `None` if it may use everything.
    pub(crate) fn bounds(&self) -> Option<String> {
        let Self { ids, online, limits, .. } = self;
        let affinity = (ids.len() < *online)
            .then(|| format!("{} of {online} CPUs allowed by affinity", ids.len()));
        let quota = limits.cpu_percent.map(|percent| format!("CPU quota {}", hundredths(percent)));
        let memory = limits.memory.map(|bytes| format!("memory limit {} MiB", bytes >> 20));
        let bounds: Vec<_> = [affinity, quota, memory].into_iter().flatten().collect();
        (!bounds.is_empty()).then(|| bounds.join(", "))
    }
}

/// How many CPUs are switched on; 0 if the kernel does not say.
fn online() -> usize {
    // SAFETY: takes a number, returns one.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or_default()
}

/// `1.5` for 150.
fn hundredths(amount: u64) -> String {
    let text = format!("{}.{:02}", amount / 100, amount % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
        for (ids, quota, cpu_percent, max) in [
            (4, 8, None, 4),
            (4, 2, None, 2),
            (1, 1, None, 1),
            (2, 0, None, 1),
            (4, 4, Some(50), 1),
            (4, 4, Some(150), 2),
            (4, 2, Some(300), 2),
        ] {
            let limits = Limits { cpu_percent, memory: None };
            let cpus = AllowedCpus::new((0..ids).collect(), quota, 8, limits);
            assert_eq!(cpus.max(), max, "{ids} {quota} {cpu_percent:?}");
        }
    }

    #[test]
    fn only_what_binds_is_said() {
        let bounds = |ids, cpu_percent, memory| {
            AllowedCpus::new((0..ids).collect(), 8, 8, Limits { cpu_percent, memory }).bounds()
        };
        assert_eq!(bounds(8, None, None), None);
        let all = bounds(2, Some(150), Some(512 << 20)).unwrap();
        assert_eq!(all, "2 of 8 CPUs allowed by affinity, CPU quota 1.5, memory limit 512 MiB");
        assert_eq!(bounds(8, Some(200), None).unwrap(), "CPU quota 2");
        assert_eq!(bounds(8, Some(5), None).unwrap(), "CPU quota 0.05");
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
