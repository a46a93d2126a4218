//! Whether this machine gives us `io_uring`, and if not, why and what to do.
//!
//! Asked before the first executor exists: glommio panics where it is refused, and blames the
//! kernel's age for everything.

#![expect(unsafe_code, reason = "a provided-buffer ring is registered by address")]

use std::{fs, io};

use io_uring::opcode::{
    Accept, AsyncCancel, Close, PollAdd, Read, Recv, Send, SendMsg, Shutdown, Timeout,
};
use io_uring::register::Probe;
use io_uring::types::CancelBuilder;
use io_uring::{IoUring, Submitter};
use rustix::io::Errno;

use super::limits::Limits;

/// The oldest kernel that works: the first with `DEFER_TASKRUN`.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// The kernel that brought `io_uring`.
const KERNEL_FIRST: (u32, u32) = (5, 1);
/// What glommio insists on, even where the kernel no longer charges rings to the limit.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Entries of the ring that is set up to see whether one can be.
const PROBE_ENTRIES: u32 = 8;
/// `sizeof(struct io_uring_buf)`.
const BUFFER_ENTRY_BYTES: usize = 16;

/// The operations that the product submits.
const OPERATIONS: [(u8, &str); 10] = [
    (Accept::CODE, "accept"),
    (Recv::CODE, "recv"),
    (Send::CODE, "send"),
    (SendMsg::CODE, "sendmsg"),
    (Read::CODE, "read"),
    (Close::CODE, "close"),
    (Shutdown::CODE, "shutdown"),
    (PollAdd::CODE, "poll"),
    (Timeout::CODE, "timeout"),
    (AsyncCancel::CODE, "cancel"),
];

/// Why `io_uring` cannot be used here. `Display` names the cause and the way out, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The kernel lacks it, or parts of it.
    #[error(
        "Linux {release} is too old for corelane's use of io_uring; \
         hint: boot Linux 6.1 or newer"
    )]
    TooOld {
        /// As `uname -r` prints it.
        release: String,
    },
    /// A kernel that should have it says that there is no such system call.
    #[error(
        "Linux {release} answers that it has no io_uring: a seccomp profile hides it or the \
         kernel was built without it; \
         hint: in a container, allow the io_uring_* system calls \
         (docker run --security-opt seccomp=PROFILE.json, or seccomp=unconfined to try)"
    )]
    Hidden {
        /// As `uname -r` prints it.
        release: String,
    },
    /// By `kernel.io_uring_disabled`.
    #[error(
        "io_uring is switched off by kernel.io_uring_disabled={level}; hint: {}",
        .level.hint()
    )]
    SwitchedOff {
        /// For whom.
        level: Disabled,
    },
    /// EPERM though the kernel's own switch is on.
    #[error(
        "io_uring is forbidden (EPERM), most likely by a container's seccomp profile; \
         hint: allow the io_uring_* system calls \
         (docker run --security-opt seccomp=PROFILE.json, or seccomp=unconfined to try)"
    )]
    Forbidden,
    /// EACCES.
    #[error(
        "io_uring is forbidden by a security module (EACCES); \
         hint: allow it in the SELinux policy, `ausearch -m avc` shows the denial"
    )]
    SecurityModule,
    /// ENOMEM.
    #[error(
        "no memory for an io_uring: the limit of locked memory or the cgroup's memory is used up; \
         hint: raise `ulimit -l` (LimitMEMLOCK=, docker run --ulimit memlock=-1) or memory.max"
    )]
    NoMemory,
    /// The limit on locked memory is below what an executor asks for.
    #[error(
        "the limit of locked memory is {bytes} bytes, io_uring needs 524288; \
         hint: raise `ulimit -l` to 512 or more (LimitMEMLOCK=, docker run --ulimit memlock=-1)"
    )]
    LockedMemory {
        /// The soft limit.
        bytes: u64,
    },
    /// EMFILE.
    #[error(
        "no descriptor left for an io_uring in this process; \
         hint: raise `ulimit -n` (LimitNOFILE=)"
    )]
    ProcessDescriptors,
    /// ENFILE.
    #[error(
        "no descriptor left for an io_uring on this machine; \
         hint: raise it with `sysctl fs.file-max=NUMBER`"
    )]
    SystemDescriptors,
    /// A kernel that is new enough lacks a part all the same.
    #[error(
        "the io_uring of Linux {release} lacks {part}; \
         hint: use a kernel, 6.1 or newer, that does not restrict io_uring"
    )]
    Lacks {
        /// The operation or registration.
        part: &'static str,
        /// As `uname -r` prints it.
        release: String,
    },
    /// Anything else.
    #[error("io_uring cannot be set up: {}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

/// A value of `kernel.io_uring_disabled` that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disabled {
    /// 1: for all but root and one group.
    ForOthers,
    /// 2: for everybody.
    ForAll,
}

impl Disabled {
    fn hint(self) -> &'static str {
        match self {
            Self::ForAll => "run `sysctl kernel.io_uring_disabled=0` as root",
            Self::ForOthers => {
                "run `sysctl kernel.io_uring_disabled=0` as root, or put the user into the group \
                 that kernel.io_uring_group names"
            }
        }
    }
}

impl std::fmt::Display for Disabled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ForOthers => "1",
            Self::ForAll => "2",
        })
    }
}

/// Sets up a small ring as the product does, asks it for all that the product uses, drops it.
///
/// Raise the limits first where that is wanted: this reads them, and never changes them.
pub(crate) fn probe() -> Result<(), Refusal> {
    check_locked_memory(Limits::current().locked_bytes)?;
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(PROBE_ENTRIES)
        .map_err(|error| refusal(&error))?;
    check_operations(&ring.submitter())?;
    check_buffer_ring(&ring.submitter())?;
    check_cancel(&ring.submitter())
}

fn check_locked_memory(soft: Option<u64>) -> Result<(), Refusal> {
    match soft {
        Some(bytes) if bytes < LOCKED_BYTES_MIN => Err(Refusal::LockedMemory { bytes }),
        _ => Ok(()),
    }
}

fn check_operations(ring: &Submitter<'_>) -> Result<(), Refusal> {
    let mut probe = Probe::new();
    ring.register_probe(&mut probe).map_err(|error| refusal(&error))?;
    match OPERATIONS.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, part)) => Err(lacks(part)),
        None => Ok(()),
    }
}

fn check_buffer_ring(ring: &Submitter<'_>) -> Result<(), Refusal> {
    /// One entry, aligned to a page of any machine that Linux runs on.
    #[repr(align(65536))]
    struct Page([u8; BUFFER_ENTRY_BYTES]);

    let page = Box::new(Page([0; BUFFER_ENTRY_BYTES]));
    // SAFETY: `page` is aligned to a page, holds the one entry that is registered, and lives until
    // the ring of buffers is unregistered below; no operation ever uses it, so the kernel reads it
    // at most. Should unregistering fail, the kernel still holds the memory by its own pin.
    let registered = unsafe { ring.register_buf_ring_with_flags(page.0.as_ptr() as u64, 1, 0, 0) };
    registered.map_err(|error| part_refused(&error, "provided-buffer rings"))?;
    ring.unregister_buf_ring(0).map_err(|error| part_refused(&error, "provided-buffer rings"))
}

fn check_cancel(ring: &Submitter<'_>) -> Result<(), Refusal> {
    match ring.register_sync_cancel(None, CancelBuilder::any()) {
        Err(error) if errno(&error) != Errno::NOENT => {
            Err(part_refused(&error, "synchronous cancel"))
        }
        // Nothing was there to cancel.
        _ => Ok(()),
    }
}

/// EINVAL of a registration means that the kernel does not know it; the rest is as for a set-up.
fn part_refused(error: &io::Error, part: &'static str) -> Refusal {
    if errno(error) == Errno::INVAL { lacks(part) } else { refusal(error) }
}

fn lacks(part: &'static str) -> Refusal {
    let release = release();
    if is_older(&release, KERNEL_MIN) {
        return Refusal::TooOld { release };
    }
    Refusal::Lacks { part, release }
}

fn refusal(error: &io::Error) -> Refusal {
    let switch = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    let switch = switch.and_then(|value| value.trim().parse().ok());
    classify(errno(error), switch, &release())
}

/// The cause, from the error of `io_uring_setup`, the value of `kernel.io_uring_disabled` (none
/// before Linux 6.6) and the kernel's release.
fn classify(errno: Errno, switch: Option<u32>, release: &str) -> Refusal {
    let release = release.to_owned();
    match errno {
        Errno::NOSYS if is_older(&release, KERNEL_FIRST) => Refusal::TooOld { release },
        Errno::NOSYS => Refusal::Hidden { release },
        Errno::PERM => match switch {
            Some(1) => Refusal::SwitchedOff { level: Disabled::ForOthers },
            Some(2) => Refusal::SwitchedOff { level: Disabled::ForAll },
            _ => Refusal::Forbidden,
        },
        Errno::ACCESS => Refusal::SecurityModule,
        Errno::INVAL if is_older(&release, KERNEL_MIN) => Refusal::TooOld { release },
        Errno::INVAL => Refusal::Lacks { part: "deferred task work", release },
        Errno::NOMEM => Refusal::NoMemory,
        Errno::MFILE => Refusal::ProcessDescriptors,
        Errno::NFILE => Refusal::SystemDescriptors,
        other => Refusal::Other(other.raw_os_error()),
    }
}

/// Whether a release, such as `6.1.0-25-amd64`, is certainly older than a version.
fn is_older(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < version,
        _ => false,
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, FromRawFd};

    use io_uring::opcode::AcceptMulti;
    use io_uring::types::Fd;

    use super::*;

    #[test]
    fn this_machine_runs_the_product() {
        Limits::raise();
        assert_eq!(probe(), Ok(()));
    }

    #[test]
    fn each_errno_has_its_cause() {
        let new = || "6.18.44-cloud".to_owned();
        let old = |release: &str| Refusal::TooOld { release: release.to_owned() };
        let off = |level| Refusal::SwitchedOff { level };
        let lacks = Refusal::Lacks { part: "deferred task work", release: new() };
        for (errno, switch, release, expected) in [
            (Errno::NOSYS, None, "4.4.0", old("4.4.0")),
            (Errno::NOSYS, None, "6.18.44-cloud", Refusal::Hidden { release: new() }),
            (Errno::PERM, Some(1), "6.18.44-cloud", off(Disabled::ForOthers)),
            (Errno::PERM, Some(2), "6.18.44-cloud", off(Disabled::ForAll)),
            (Errno::PERM, Some(0), "6.18.44-cloud", Refusal::Forbidden),
            (Errno::PERM, None, "6.1.0-25-amd64", Refusal::Forbidden),
            (Errno::ACCESS, Some(0), "6.18.44-cloud", Refusal::SecurityModule),
            (Errno::INVAL, None, "5.15.0-1", old("5.15.0-1")),
            (Errno::INVAL, None, "6.0.19", old("6.0.19")),
            (Errno::INVAL, Some(0), "6.18.44-cloud", lacks),
            (Errno::NOMEM, None, "6.1.0", Refusal::NoMemory),
            (Errno::MFILE, None, "6.1.0", Refusal::ProcessDescriptors),
            (Errno::NFILE, None, "6.1.0", Refusal::SystemDescriptors),
            (Errno::IO, None, "6.1.0", Refusal::Other(5)),
        ] {
            assert_eq!(classify(errno, switch, release), expected, "{errno:?} {switch:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_way_out() {
        for (refusal, way_out) in [
            (Refusal::TooOld { release: "5.10".into() }, "Linux 5.10 is too old"),
            (Refusal::Hidden { release: "6.1".into() }, "seccomp"),
            (
                Refusal::SwitchedOff { level: Disabled::ForAll },
                "kernel.io_uring_disabled=2; hint: run `sysctl kernel.io_uring_disabled=0`",
            ),
            (Refusal::SwitchedOff { level: Disabled::ForOthers }, "kernel.io_uring_group"),
            (Refusal::Forbidden, "--security-opt seccomp="),
            (Refusal::NoMemory, "ulimit -l"),
            (Refusal::LockedMemory { bytes: 65536 }, "ulimit -l"),
            (Refusal::ProcessDescriptors, "ulimit -n"),
            (Refusal::SystemDescriptors, "fs.file-max"),
        ] {
            let text = refusal.to_string();
            assert!(text.contains(way_out), "{text}");
            assert!(text.contains("hint: ") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn locked_memory_below_the_executors_need_is_refused() {
        assert_eq!(check_locked_memory(Some(65536)), Err(Refusal::LockedMemory { bytes: 65536 }));
        for enough in [Some(LOCKED_BYTES_MIN), Some(u64::MAX), None] {
            assert_eq!(check_locked_memory(enough), Ok(()));
        }
    }

    #[test]
    fn releases_compare_by_number() {
        for (release, older) in [
            ("6.1.0-25-amd64", false),
            ("6.0", true),
            ("5.19", true),
            ("10.0", false),
            ("x", false),
        ] {
            assert_eq!(is_older(release, KERNEL_MIN), older, "{release}");
        }
    }

    /// A successor of a stuck worker calls `accept4` on the listener, so it must not block; the
    /// multishot accept of everybody else must wait on it all the same.
    #[test]
    fn multishot_accept_waits_on_a_nonblocking_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut ring = IoUring::new(8).unwrap();
        let accept = AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        // SAFETY: a multishot accept without an address refers to no memory of ours.
        unsafe { ring.submission().push(&accept).unwrap() };
        ring.submit().unwrap();
        assert!(ring.completion().next().is_none(), "answered before anybody connected");
        for _ in 0..2 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            ring.submit_and_wait(1).unwrap();
            let completion = ring.completion().next().unwrap();
            assert!(completion.result() >= 0, "{}", completion.result());
            // SAFETY: the kernel just made this descriptor for us.
            drop(unsafe { TcpStream::from_raw_fd(completion.result()) });
        }
    }
}
