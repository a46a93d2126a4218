//! Processes that have lost their parent: whoever takes them in has to wait for their ends.
#![expect(unsafe_code, reason = "waiting without taking, which no crate here has")]

use std::fs;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::{pipe, unregister};

use super::child::Child;
use super::stat::Stat;

/// How long those that are killed may take to end.
const END_MAX: Duration = Duration::from_secs(1);
/// In nanoseconds.
const LOOK_EVERY: i64 = 10_000_000;

/// Takes in what this process's children leave behind. As process 1 it has no choice: then it has
/// all orphans of its namespace.
#[derive(Debug)]
pub(crate) struct Orphans {
    /// Readable when a child of any kind has ended.
    ended: UnixStream,
    signal: SigId,
}

#[expect(clippy::unused_self, reason = "who has not adopted them has no business with them")]
impl Orphans {
    /// From now on.
    pub(crate) fn adopt() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let (ended, told) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        let signal = pipe::register(SIGCHLD, told)?;
        Ok(Self { ended, signal })
    }

    /// Hears what has been told so far; what is told from now on counts anew.
    pub(crate) fn hear(&self) {
        let mut told = [0; 64];
        while matches!((&self.ended).read(&mut told), Ok(1..)) {}
    }

    /// A child of any kind that has ended, and that nobody has waited for. It stays so.
    pub(crate) fn ended(&self) -> Option<u32> {
        let mut found = MaybeUninit::<libc::siginfo_t>::zeroed();
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the kernel writes no more than a `siginfo_t` into one that lives on this stack.
        let looked = unsafe { libc::waitid(libc::P_ALL, 0, found.as_mut_ptr(), how) };
        if looked == -1 {
            return None;
        }
        // SAFETY: zeros are a `siginfo_t`, and so is what the kernel has made of it: of a child, or
        // zeros if none has ended.
        let pid = unsafe { found.assume_init().si_pid() };
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// Waits for one that has ended. Nobody learns how.
    pub(crate) fn bury(&self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // It has ended, so this does not wait; if it is gone, so much the better.
        let _gone = waitpid(pid, WaitOptions::NOHANG);
    }

    /// Kills all that live, and what they leave behind in turn. Only when every child that there
    /// still is has been taken in.
    pub(crate) fn end(&self) {
        let until = Instant::now() + END_MAX;
        while self.kill() > 0 && Instant::now() < until {
            let wait = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY };
            // Whoever has ended is looked for in any case.
            let _woken = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&wait));
            self.hear();
            let mut last = None;
            while let Some(pid) = self.ended().filter(|pid| last != Some(*pid)) {
                self.bury(pid);
                last = Some(pid);
            }
        }
    }

    /// Kills all children that live; how many there were.
    fn kill(&self) -> usize {
        let own = getpid().as_raw_nonzero().get().unsigned_abs();
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = pids.filter_map(Stat::of).filter(|stat| stat.parent == own && !stat.zombie);
        let alive = children.filter_map(|stat| Child::found(stat.member.pid, stat.member.born));
        alive.filter(|child| child.signal(libc::SIGKILL)).count()
    }
}

impl AsFd for Orphans {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        unregister(self.signal);
    }
}
