//! What the kernel says of another process: `/proc/PID/stat`, and its clock.
#![expect(unsafe_code, reason = "rustix does not read another process's clock")]

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

/// A process. Its number may become another's, but not with the same time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    /// Its number.
    pub pid: u32,
    /// When it was started, in ticks since the machine was.
    pub born: u64,
}

/// A process as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Which process.
    pub member: Member,
    /// Who started it, or has taken it over.
    pub parent: u32,
    /// Its process group, by the pid of who leads it.
    pub group: u32,
    /// The CPU time of its children that it has waited for, and of theirs, in ticks.
    pub reaped: u64,
    /// It has ended, and nobody has waited for it.
    pub zombie: bool,
    /// Memory that is resident, in bytes.
    pub resident: u64,
}

impl Stat {
    /// The process that has this pid now, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: u32, text: &str) -> Option<Self> {
        // "pid (name) state parent ...": the name may hold spaces and parentheses.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // They are numbered from 1 in proc_pid_stat(5), and the state is the third.
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Self {
            member: Member { pid, born: number(22)? },
            parent: u32::try_from(number(4)?).ok()?,
            group: u32::try_from(number(5)?).ok()?,
            reaped: number(16)? + number(17)?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            resident: number(24)?.saturating_mul(page_size() as u64),
        })
    }
}

/// So many of the kernel's ticks.
pub(crate) fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(1_000_000_000 / clock_ticks_per_second().max(1)))
}

/// The time that all threads of a process have spent on a CPU, to the nanosecond.
///
/// # Errors
/// There is no such process.
pub(crate) fn cpu_clock(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    let mut clock = 0;
    // SAFETY: the clock's number is written into it during the call.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written into it during the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_whatever_the_name() {
        let text = "7 (a) b) S 3 1 1 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 1 0 9000 1 2";
        let resident = 2 * page_size() as u64;
        let member = Member { pid: 7, born: 9000 };
        let expected = Stat { member, parent: 3, group: 1, reaped: 150, zombie: false, resident };
        assert_eq!(Stat::parse(7, text), Some(expected));
        for text in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(Stat::parse(7, text), None, "{text}");
        }
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(Stat::of(pid).is_some_and(|stat| stat.resident > 0 && !stat.zombie));
        assert!(cpu_clock(pid).unwrap() > Duration::ZERO);
        assert!(Stat::of(u32::MAX).is_none());
    }
}
