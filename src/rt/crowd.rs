//! How many executors of this process share a CPU.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// CPUs with a count of their own. Those beyond share one with another, which is no more than a
/// wrong guess at how crowded it is.
const CPUS: usize = 1024;

/// How many are awake on each CPU.
static AWAKE: [AtomicU32; CPUS] = [const { AtomicU32::new(0) }; CPUS];

/// One executor among those of its CPU. It counts while it is awake.
pub(super) struct Place {
    /// `None` for an executor that is not pinned: the kernel finds it a CPU that is free.
    awake: Option<&'static AtomicU32>,
    counted: Cell<bool>,
}

impl Place {
    /// Awake, on this CPU.
    pub(super) fn new(cpu: Option<usize>) -> Self {
        let place = Self { awake: cpu.map(|cpu| &AWAKE[cpu % CPUS]), counted: Cell::new(false) };
        place.wake();
        place
    }

    /// It works again.
    pub(super) fn wake(&self) {
        if let Some(awake) = self.awake
            && !self.counted.replace(true)
        {
            awake.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It sleeps.
    pub(super) fn sleep(&self) {
        if let Some(awake) = self.awake
            && self.counted.replace(false)
        {
            awake.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many share this one's CPU now, itself included.
    pub(super) fn sharers(&self) -> u32 {
        self.awake.map_or(1, |awake| awake.load(Ordering::Relaxed).max(1))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sleep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_those_that_are_awake_on_the_same_cpu() {
        // No machine that runs this has so many.
        let cpu = Some(CPUS - 1);
        let (one, other) = (Place::new(cpu), Place::new(cpu));
        let elsewhere = [Place::new(None), Place::new(Some(CPUS - 2))];
        assert_eq!((one.sharers(), other.sharers()), (2, 2));
        other.sleep();
        other.sleep();
        assert_eq!((one.sharers(), elsewhere.map(|place| place.sharers())), (1, [1, 1]));
        other.wake();
        other.wake();
        assert_eq!(one.sharers(), 2);
        drop(other);
        assert_eq!(one.sharers(), 1);
    }
}
