//! What a process and those that it has started use: CPU time and memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use super::stat::{Member, Stat, cpu_clock, ticks};

/// A process and its descendants, as far as they have been seen.
#[derive(Clone, Debug)]
pub(crate) struct ProcessTree {
    root: Member,
    members: Vec<Member>,
}

/// The CPU time of each process of a tree, from its birth on.
#[derive(Clone, Debug)]
pub(crate) struct CpuTimes(BTreeMap<Member, Spent>);

#[derive(Clone, Copy, Debug)]
struct Spent {
    /// By its own threads, also those that have ended.
    own: Duration,
    /// By its children that have ended and that it has waited for, and by theirs.
    reaped: Duration,
}

impl ProcessTree {
    /// The process and all that it has started.
    ///
    /// # Errors
    /// There is no such process (`NotFound`), or `/proc` cannot be read.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = Stat::of(pid).filter(|stat| !stat.zombie);
        let root = stat.ok_or(io::ErrorKind::NotFound)?.member;
        let mut tree = Self { root, members: vec![root] };
        tree.look()?;
        Ok(tree)
    }

    /// Finds what has been started since. Who has lost its parent is still known.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
        let pids = names.filter_map(|name| name.to_str()?.parse().ok());
        let all: Vec<Stat> = pids.filter_map(Stat::of).collect();
        let lives = |member: &Member| all.iter().any(|stat| stat.member == *member);
        self.members.retain(lives);
        let mut next = 0;
        while let Some(parent) = self.members.get(next).map(|member| member.pid) {
            for stat in all.iter().filter(|stat| stat.parent == parent) {
                if !self.members.contains(&stat.member) {
                    self.members.push(stat.member);
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// The CPU time of those that were found.
    ///
    /// The kernel adds what a thread that runs has used at its next tick, 1 to 10 ms later, or when
    /// it sleeps.
    pub(crate) fn cpu(&self) -> CpuTimes {
        let spent = self.members.iter().filter_map(|member| {
            let stat = Stat::of(member.pid).filter(|stat| stat.member == *member)?;
            let reaped = ticks(stat.reaped);
            Some((*member, Spent { own: cpu_clock(member.pid).ok()?, reaped }))
        });
        CpuTimes(spent.collect())
    }

    /// The most memory that each process ever kept resident, in bytes, summed; what they share
    /// counts for each.
    pub(crate) fn peak_memory(&self) -> u64 {
        let peak = |member: &Member| {
            let status = fs::read_to_string(format!("/proc/{}/status", member.pid)).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        self.members.iter().filter_map(peak).sum::<u64>() * 1024
    }

    /// Whether the process that all began with still runs.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = Stat::of(self.root.pid);
        stat.is_some_and(|stat| stat.member == self.root && !stat.zombie)
    }
}

impl CpuTimes {
    /// With those that were found only by a later look.
    pub(crate) fn with_new(mut self, later: Self) -> Self {
        for (member, spent) in later.0 {
            self.0.entry(member).or_insert(spent);
        }
        self
    }

    /// The CPU time used since an earlier look.
    ///
    /// What has ended in between is in the time of who waited for it. If nobody did, it is lost:
    /// then this is what the others used themselves.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let all = |times: &Self| times.0.values().map(|spent| spent.own + spent.reaped).sum();
        let (now, before): (Duration, Duration) = (all(self), all(earlier));
        let own = self.0.iter().map(|(member, now)| {
            let before = earlier.0.get(member).map_or(Duration::ZERO, |spent| spent.own);
            now.own.saturating_sub(before)
        });
        now.saturating_sub(before).max(own.sum())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const BURNT: Duration = Duration::from_millis(100);

    /// A shell, killed with what it has started when dropped.
    struct Shell(Child);

    impl Shell {
        fn run(script: &str) -> Self {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).stdin(Stdio::piped()).process_group(0);
            Self(command.spawn().unwrap())
        }

        fn tree(&self) -> ProcessTree {
            ProcessTree::of(self.0.id()).unwrap()
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let group = rustix::process::Pid::from_child(&self.0);
            let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _reaped = self.0.wait();
        }
    }

    #[track_caller]
    fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "it takes too long");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn counts_children_and_grandchildren() {
        let shell = Shell::run("(sh -c 'while :; do :; done'; :) & read wait");
        let mut tree = shell.tree();
        until(|| {
            tree.look().unwrap();
            tree.members.len() == 3
        });
        let before = tree.cpu();
        until(|| tree.cpu().since(&before) > BURNT);
        assert!(tree.peak_memory() > 3 * 100 * 1024, "{}", tree.peak_memory());
    }

    #[test]
    fn what_has_ended_meanwhile_stays_counted() {
        let shell =
            Shell::run("while :; do sh -c 'i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done'; done");
        let mut tree = shell.tree();
        let first = tree.cpu();
        let mut last = Duration::ZERO;
        let mut ended = 0;
        until(|| {
            let members = tree.members.clone();
            tree.look().unwrap();
            ended += members.iter().filter(|member| !tree.members.contains(member)).count();
            last = tree.cpu().since(&first);
            ended > 3 && last > BURNT
        });
        assert!(tree.is_alive() && last > BURNT);
    }

    #[test]
    fn threads_that_have_ended_stay_counted() {
        let tree = ProcessTree::of(std::process::id()).unwrap();
        let before = tree.cpu();
        let burn = || {
            let begin = cpu_clock(std::process::id()).unwrap();
            while cpu_clock(std::process::id()).unwrap() < begin + BURNT {}
        };
        std::thread::spawn(burn).join().unwrap();
        assert!(tree.cpu().since(&before) + Duration::from_millis(10) >= BURNT);
    }

    #[test]
    fn never_goes_backwards() {
        let member = |pid| Member { pid, born: 1 };
        let spent = |own, reaped| {
            let [own, reaped] = [own, reaped].map(Duration::from_millis);
            Spent { own, reaped }
        };
        let times = |all: &[(u32, u64, u64)]| {
            CpuTimes(
                all.iter().map(|&(pid, own, reaped)| (member(pid), spent(own, reaped))).collect(),
            )
        };
        for (before, after, milliseconds) in [
            (&[(1, 10, 0)][..], &[(1, 25, 0)][..], 15),
            // A child is waited for: what it had is its parent's.
            (&[(1, 10, 0), (2, 50, 0)], &[(1, 12, 60)], 12),
            // A child that nobody waits for takes its time with it.
            (&[(1, 10, 0), (2, 50, 0)], &[(1, 12, 0)], 2),
            (&[(1, 10, 0)], &[(1, 10, 0), (2, 7, 0)], 7),
            (&[(1, 10, 0)], &[], 0),
        ] {
            let found = times(after).since(&times(before));
            assert_eq!(found, Duration::from_millis(milliseconds), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_not_found() {
        let mut shell = Shell::run("read wait");
        let tree = shell.tree();
        assert!(tree.is_alive());
        shell.0.kill().unwrap();
        until(|| !tree.is_alive());
        // Ended, and not waited for yet.
        let error = ProcessTree::of(shell.0.id()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(ProcessTree::of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
