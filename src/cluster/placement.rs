//! Which CPU each worker gets.

use crate::sys::cpu;

/// The CPUs of a cluster's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    cpus: Vec<usize>,
    workers: usize,
}

/// Why the workers cannot be placed as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A CPU that is not there, or that affinity or a cpuset denies to this process.
    #[error("cannot place a worker on CPU {cpu}: this process may use CPUs {allowed}")]
    NotAllowed {
        /// The first such CPU.
        cpu: usize,
        /// Those that may be used, such as `0-3,6`.
        allowed: String,
    },
    /// The list names no CPU.
    #[error("cannot place workers: the list of CPUs is empty")]
    Empty,
}

impl Placement {
    /// Places `workers` on the CPUs that were `asked` for, else on those that are `allowed`.
    ///
    /// Workers go round the CPUs in the order of the list; a CPU listed twice counts once.
    pub(crate) fn new(
        allowed: &[usize],
        asked: Option<&[usize]>,
        workers: usize,
    ) -> Result<Self, PlacementError> {
        let asked = asked.unwrap_or(allowed);
        if let Some(cpu) = asked.iter().copied().find(|cpu| !allowed.contains(cpu)) {
            return Err(PlacementError::NotAllowed { cpu, allowed: cpu::list(allowed) });
        }
        let mut cpus: Vec<usize> = Vec::new();
        for cpu in asked {
            if !cpus.contains(cpu) {
                cpus.push(*cpu);
            }
        }
        if cpus.is_empty() {
            return Err(PlacementError::Empty);
        }
        Ok(Self { cpus, workers })
    }

    /// How many CPUs there are for them.
    pub(crate) fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// The CPU of a worker, for good: scaling moves no worker.
    pub(crate) fn cpu_of(&self, worker: usize) -> usize {
        self.cpus[worker % self.cpus.len()]
    }

    /// The CPUs of so many workers.
    pub(crate) fn cpus_of(&self, workers: usize) -> Vec<usize> {
        (0..workers).map(|worker| self.cpu_of(worker)).collect()
    }

    /// What to tell the operator, if workers share CPUs.
    pub(crate) fn warning(&self) -> Option<String> {
        let (workers, cpus) = (self.workers, self.cpus.len());
        (workers > cpus).then(|| {
            let list = cpu::list(&self.cpus);
            let cpus = if cpus == 1 { "CPU" } else { "CPUs" };
            format!("{workers} workers share {cpus} {list}: more workers than CPUs gain nothing")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_go_round_the_cpus() {
        for (allowed, asked, workers, expected) in [
            (&[0, 1][..], None, 2, &[0, 1][..]),
            (&[0, 1], None, 1, &[0]),
            (&[0, 1], None, 5, &[0, 1, 0, 1, 0]),
            (&[2, 5, 7], None, 2, &[2, 5]),
            (&[0, 1, 2, 3], Some(&[3, 1][..]), 3, &[3, 1, 3]),
            (&[0, 1, 2, 3], Some(&[1, 1, 2]), 3, &[1, 2, 1]),
        ] {
            let placement = Placement::new(allowed, asked, workers).unwrap();
            let cpus: Vec<_> = (0..workers).map(|worker| placement.cpu_of(worker)).collect();
            assert_eq!(cpus, expected, "{allowed:?} {asked:?}");
        }
    }

    #[test]
    fn a_cpu_that_is_not_allowed_is_named() {
        let error = Placement::new(&[0, 1, 2, 6], Some(&[1, 4, 9]), 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot place a worker on CPU 4: this process may use CPUs 0-2,6"
        );
        assert_eq!(Placement::new(&[0], Some(&[]), 1), Err(PlacementError::Empty));
    }

    #[test]
    fn sharing_a_cpu_is_warned_of() {
        let place = |workers| Placement::new(&[0, 1], None, workers).unwrap();
        assert_eq!(place(2).warning(), None);
        assert_eq!(
            place(3).warning().unwrap(),
            "3 workers share CPUs 0,1: more workers than CPUs gain nothing"
        );
    }
}
