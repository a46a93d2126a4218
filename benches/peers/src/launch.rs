//! Programs that are pinned to a CPU and do not outlive this one.

#![expect(unsafe_code, reason = "a command is prepared between fork and exec")]

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::setrlimit;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::failure::{Doing, Failure};

/// The descriptors that the largest workload needs, and then some.
const DESCRIPTORS: u64 = 65_536;

/// Whether Ctrl-C has been pressed.
pub(crate) type Stop = Arc<AtomicBool>;

/// Has Ctrl-C be noted instead of ending this process.
pub(crate) fn on_interrupt() -> Result<Stop, Failure> {
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).doing("listening for Ctrl-C")?;
    }
    Ok(stop)
}

/// Whether to end.
pub(crate) fn interrupted(stop: &Stop) -> bool {
    stop.load(Ordering::Relaxed)
}

/// A command for `program` on `cpu` alone, in a group of its own, which ends with this process.
///
/// It must be spawned from the main thread: its end is what "with this process" means to Linux.
pub(crate) fn pinned(cpu: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // Its own group, so that Ctrl-C is this process's alone.
    command.process_group(0);
    // SIGTERM rather than SIGKILL: nginx's master then takes its worker along.
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        Ok(sched_setaffinity(None, &cpus)?)
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Pins the calling thread to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<(), Failure> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).doing(format!("pinning to CPU {cpu}"))
}

/// Raises what this process and those that it starts may have: descriptors, and locked memory.
pub(crate) fn raise_limits() -> Result<(), Failure> {
    let wanted = [(Resource::Nofile, Some(DESCRIPTORS)), (Resource::Memlock, None)];
    for (resource, enough) in wanted {
        let limit = getrlimit(resource);
        let raised = Rlimit { current: enough, maximum: enough };
        let lower = |limit: Option<u64>| limit.is_some_and(|it| enough.is_none_or(|to| it < to));
        // An unprivileged process may go up to its hard limit only.
        if lower(limit.maximum) && setrlimit(resource, raised).is_ok() {
            continue;
        }
        if lower(limit.current) {
            let current = match (limit.maximum, enough) {
                (Some(maximum), Some(enough)) => Some(maximum.min(enough)),
                (maximum, enough) => maximum.or(enough),
            };
            setrlimit(resource, Rlimit { current, maximum: limit.maximum })
                .map_err(io::Error::from)
                .doing("raising a limit")?;
        }
    }
    Ok(())
}
