//! A program that runs, whoever started it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use rustix::time::{ClockId, clock_gettime};

use super::stat::{Stat, ticks};

/// A process, by a descriptor that stays its own whatever becomes of its number.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    /// When it was started, in the kernel's ticks: tells it from a later process of the same pid.
    born: u64,
    descriptor: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was not this process's child, and the kernel does not say.
    Unknown,
}

impl Exit {
    /// Whether it was anything but code 0.
    pub(crate) fn is_failure(self) -> bool {
        self != Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match name_of(*signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::Unknown => f.write_str("ended while no manager watched, nobody knows how"),
        }
    }
}

/// The name of a signal without `SIG`.
fn name_of(signal: i32) -> Option<&'static str> {
    signals().find(|(_, number)| *number == signal).map(|(name, _)| name)
}

/// The signals that a program can be told to stop by, and those that it may end by.
fn signals() -> impl Iterator<Item = (&'static str, i32)> {
    [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ILL", libc::SIGILL),
        ("TRAP", libc::SIGTRAP),
        ("ABRT", libc::SIGABRT),
        ("BUS", libc::SIGBUS),
        ("FPE", libc::SIGFPE),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("SEGV", libc::SIGSEGV),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("WINCH", libc::SIGWINCH),
    ]
    .into_iter()
}

/// The number of a signal: `TERM` or `SIGTERM`.
pub(crate) fn signal_of(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    signals().find(|(other, _)| *other == name).map(|(_, number)| number)
}

impl Child {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none (`NotFound`).
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::SRCH => io::ErrorKind::NotFound.into(),
            errno => io::Error::from(errno),
        })?;
        let stat = Stat::of(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid: raw, born: stat.member.born, descriptor })
    }

    /// The process of this pid, if it is the one that was born then and has not ended.
    pub(crate) fn found(pid: u32, born: u64) -> Option<Self> {
        let child = Self::of(pid).ok().filter(|child| child.born == born)?;
        (!child.has_ended()).then_some(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::try_from(now).unwrap_or_default().saturating_sub(ticks(self.born))
    }

    /// Whether it has ended, even if nobody has waited for it.
    pub(crate) fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        matches!(poll(&mut polled, Some(&now)), Ok(1..))
    }

    /// Sends it a signal; whether it still was there to get it.
    pub(crate) fn signal(&self, number: i32) -> bool {
        let Some(signal) = Signal::from_named_raw(number) else { return false };
        pidfd_send_signal(&self.descriptor, signal).is_ok()
    }

    /// Kills whatever is in its process group, which it leads, itself included.
    ///
    /// Before it has been [reaped](Self::reap): as long as it is a zombie, its number is nobody
    /// else's.
    pub(crate) fn kill_group(&self) {
        // Without a member it has done what it should.
        let _gone = kill_process_group(self.pid, Signal::KILL);
        // If it leads none after all.
        let _gone = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }

    /// How it ended, if it has. Its pid is free from then on.
    pub(crate) fn reap(&self) -> Option<Exit> {
        if !self.has_ended() {
            return None;
        }
        let id = WaitId::PidFd(self.descriptor.as_fd());
        let status = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let Ok(Some(status)) = status else { return Some(Exit::Unknown) };
        let code = status.exit_status().map(Exit::Code);
        let signal = status.terminating_signal().map(Exit::Signal);
        Some(code.or(signal).unwrap_or(Exit::Unknown))
    }

    /// Waits for its end.
    #[cfg(test)]
    pub(crate) fn wait(&self) -> io::Result<Exit> {
        poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], None)?;
        self.reap().ok_or_else(|| io::Error::other("it has not ended"))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The variables that a process was started with, if this user may see them.
pub(crate) fn environment(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ")).ok()
}

/// How long a file may become that a process writes to (`RLIMIT_FSIZE`), if that is limited and
/// this user may know.
pub(crate) fn file_bytes_max(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let of_files = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
    of_files.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Child {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).process_group(0);
        #[expect(clippy::zombie_processes, reason = "it is reaped by its descriptor")]
        let child = command.spawn().unwrap();
        Child::of(child.id()).unwrap()
    }

    #[test]
    fn tells_how_a_process_ended() {
        let cases = [
            ("exit 0", Exit::Code(0), "exited with code 0"),
            ("exit 3", Exit::Code(3), "exited with code 3"),
            ("kill -9 $$", Exit::Signal(9), "killed by signal 9 (KILL)"),
        ];
        for (script, expected, words) in cases {
            let exit = shell(script).wait().unwrap();
            assert_eq!((exit, exit.to_string().as_str()), (expected, words));
        }
    }

    #[test]
    fn a_signal_and_a_group_end_reach_it() {
        let child = shell("sleep 100 & sleep 100");
        assert!(!child.has_ended() && child.reap().is_none());
        assert!(Child::found(child.pid(), child.born()).is_some());
        assert!(Child::found(child.pid(), child.born() + 1).is_none());
        assert!(child.age() < Duration::from_secs(60), "{:?}", child.age());
        assert!(Child::of(1).unwrap().age() > child.age());
        child.kill_group();
        assert_eq!(child.wait().unwrap(), Exit::Signal(9));
        assert!(!child.signal(libc::SIGTERM), "it is gone");
        assert!(Child::found(child.pid(), child.born()).is_none());
    }

    #[test]
    fn knows_signals_by_their_names() {
        assert_eq!(signal_of("TERM"), Some(15));
        assert_eq!(signal_of("SIGINT"), Some(2));
        assert_eq!(signal_of("term"), None);
    }

    #[test]
    fn nobody_has_a_pid_that_is_none() {
        assert_eq!(Child::of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Child::of(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
