//! The threads of this process, as the scheduler knows them.
#![expect(unsafe_code, reason = "rustix does not set scheduling policies")]

use std::io;

use rustix::thread::Pid;

/// A thread, by the kernel's number for it. The number of a thread that has ended may become
/// another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(Pid);

/// The calling thread.
pub(crate) fn current() -> ThreadId {
    ThreadId(rustix::thread::gettid())
}

/// Has a thread run only when nobody else wants its CPU (`SCHED_IDLE`).
///
/// # Errors
/// There is no such thread any more (ESRCH).
pub(crate) fn lower(thread: ThreadId) -> io::Result<()> {
    schedule(thread, libc::SCHED_IDLE)
}

/// Has a thread run like any other again (`SCHED_OTHER`).
///
/// # Errors
/// There is no such thread any more (ESRCH). Without `CAP_SYS_NICE` the kernel takes this for a
/// raise of priority, and refuses it (EPERM) unless `RLIMIT_NICE` allows the thread's nice value.
pub(crate) fn restore(thread: ThreadId) -> io::Result<()> {
    schedule(thread, libc::SCHED_OTHER)
}

fn schedule(thread: ThreadId, policy: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    let id = thread.0.as_raw_nonzero().get();
    // SAFETY: the kernel reads the parameter during the call, and nothing else.
    match unsafe { libc::sched_setscheduler(id, policy, &raw const parameter) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn policy(thread: ThreadId) -> i32 {
        // SAFETY: takes a number and touches no memory.
        unsafe { libc::sched_getscheduler(thread.0.as_raw_nonzero().get()) }
    }

    /// Whether a thread that was lowered may be restored: with `CAP_SYS_NICE`, or by `RLIMIT_NICE`.
    fn may_raise() -> bool {
        const CAP_SYS_NICE: u32 = 23;
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let effective = u64::from_str_radix(effective.trim(), 16).unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nice).current;
        effective & (1 << CAP_SYS_NICE) != 0 || limit.is_none_or(|limit| limit >= 20)
    }

    #[test]
    fn another_thread_is_lowered_and_restored() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            tell.send(current()).unwrap();
            let _ended = ended.recv();
        });
        let thread = told.recv().unwrap();
        assert_ne!(thread, current());
        assert_eq!(policy(thread), libc::SCHED_OTHER);
        lower(thread).unwrap();
        assert_eq!(policy(thread), libc::SCHED_IDLE);
        assert_eq!(policy(current()), libc::SCHED_OTHER, "only that one");
        match restore(thread) {
            Ok(()) => assert_eq!(policy(thread), libc::SCHED_OTHER),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                assert!(!may_raise(), "this process may");
            }
        }
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn a_thread_that_has_ended_is_an_error() {
        let thread = std::thread::spawn(current).join().unwrap();
        // It is joined a little before the kernel forgets it.
        let deadline = Instant::now() + Duration::from_secs(5);
        while lower(thread).is_ok() {
            assert!(Instant::now() < deadline, "the kernel forgets it");
            std::thread::yield_now();
        }
        assert_eq!(restore(thread).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
