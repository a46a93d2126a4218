//! Becoming a contender: pinned, and not outliving the bench.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::failure::{Doing, Failure};

/// The command that runs `program` on `cpu` alone, until it ends or this process does.
pub(crate) fn pinned(cpu: usize, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("launch").arg(cpu.to_string()).arg(program);
    Ok(command)
}

/// Replaces this process by `command`; returns only if that is refused.
pub(crate) fn exec(cpu: usize, command: &[String]) -> Result<(), Failure> {
    let [program, arguments @ ..] = command else {
        return Err(Failure::Usage("launch: nothing to start".into()));
    };
    // SIGTERM rather than SIGKILL: nginx's master then takes its worker along.
    set_parent_process_death_signal(Some(Signal::TERM)).doing("asking to die with the bench")?;
    pin(cpu)?;
    Err(Command::new(program).args(arguments).exec()).doing(format!("starting {program}"))
}

/// Pins the calling thread, and what it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> Result<(), Failure> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).doing(format!("pinning to CPU {cpu}"))
}
