//! What the server uses while it is measured.

use std::time::{Duration, Instant};

use crate::loadgen::Used;
use crate::sys::usage::{CpuTimes, ProcessTree};

/// Reads the server's clocks at the two ends of a measurement.
///
/// Who its processes are is found out in quiet times, because that takes milliseconds; the clocks
/// alone take microseconds.
pub(super) struct Meter {
    pid: u32,
    tree: ProcessTree,
    begin: Option<(Instant, CpuTimes)>,
    /// What was used, and in what time.
    used: Option<(Used, Duration)>,
    over: bool,
}

impl Meter {
    /// A meter of this process and those that it starts.
    pub(super) fn new(pid: u32, tree: ProcessTree) -> Self {
        Self { pid, tree, begin: None, used: None, over: false }
    }

    /// Looks for new processes; before it begins.
    pub(super) fn look(&mut self) {
        // If /proc cannot be read now, it shows at the end.
        let _known = self.tree.look();
    }

    /// Begins.
    pub(super) fn begin(&mut self) {
        self.begin = Some((Instant::now(), self.tree.cpu()));
    }

    /// Ends, the first time that it is called.
    pub(super) fn end(&mut self) {
        if self.over {
            return;
        }
        self.over = true;
        let Some((since, begin)) = &self.begin else { return };
        let (elapsed, now) = (since.elapsed(), self.tree.cpu());
        if self.tree.look().is_err() || !self.tree.is_alive() {
            return;
        }
        let cpu = now.with_new(self.tree.cpu()).since(begin);
        let used = Used { pid: self.pid, cpu, peak_memory: self.tree.peak_memory() };
        self.used = Some((used, elapsed));
    }

    /// Whether its end is still to come.
    pub(super) fn runs(&self) -> bool {
        !self.over
    }

    /// What was used; none if the process has ended, or if it was all over too soon.
    ///
    /// Of a load that was the same throughout, the `whole` time of which is given, it is that of
    /// the whole: this was told a little late that it began, and ended a little before it did.
    pub(super) fn used(self, whole: Option<Duration>) -> Option<Used> {
        let (used, elapsed) = self.used?;
        let part = whole.map(|whole| whole.as_secs_f64() / elapsed.as_secs_f64());
        let part = part.filter(|part| part.is_finite()).unwrap_or(1.0);
        Some(Used { cpu: used.cpu.mul_f64(part), ..used })
    }
}
