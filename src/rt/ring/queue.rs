//! Submission and completion.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};

/// Submissions that fit between two turns; one more submits what is there.
const SUBMISSIONS: u32 = 512;
/// Completions that fit; the kernel keeps what is beyond, at a cost.
const COMPLETIONS: u32 = 4096;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(in crate::rt) struct Completion {
    /// What the operation was submitted with.
    pub user_data: u64,
    /// The result, or a negative errno.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether the operation goes on: more completions will follow.
    pub(in crate::rt) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds the bytes.
    pub(in crate::rt) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// The errno of a failed operation.
    pub(in crate::rt) fn errno(self) -> Option<i32> {
        (self.result < 0).then(|| -self.result)
    }
}

/// How long a turn waits for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rt) enum Wait {
    /// Not at all.
    No,
    /// For the first completion.
    Event,
    /// For the first completion, at most this long.
    Upto(Duration),
}

/// An `io_uring` instance of this thread, until it is closed.
pub(in crate::rt) struct Queue {
    ring: Option<IoUring>,
}

impl Queue {
    /// Sets the ring up. Only the calling thread may use it.
    pub(in crate::rt) fn new() -> io::Result<Self> {
        let mut ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        ring.completion().disable_eventfd();
        Ok(Self { ring: Some(ring) })
    }

    /// The ring, for registrations.
    pub(in crate::rt) fn submitter(&self) -> io::Result<io_uring::Submitter<'_>> {
        self.ring.as_ref().map(IoUring::submitter).ok_or_else(closed)
    }

    /// Closes the ring, for good. Nothing may be in flight whose memory is to be freed.
    pub(in crate::rt) fn close(&mut self) {
        self.ring = None;
    }

    /// Has the kernel signal `eventfd` at completions, while [`signal`](Self::signal) is on.
    pub(in crate::rt) fn register_eventfd(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        self.submitter()?.register_eventfd(eventfd.as_raw_fd())
    }

    /// Switches the registered eventfd on or off.
    pub(in crate::rt) fn signal(&mut self, on: bool) {
        let Some(ring) = &mut self.ring else { return };
        let completions = ring.completion();
        if on { completions.enable_eventfd() } else { completions.disable_eventfd() }
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// All memory that the entry points to must stay where it is, untouched, until the operation's
    /// last completion; its descriptor must stay open until it has been submitted.
    pub(in crate::rt) unsafe fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or_else(closed)?;
        // SAFETY: the caller vouches for the entry's memory.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        self.enter(Wait::No)?;
        let ring = self.ring.as_mut().ok_or_else(closed)?;
        // SAFETY: as above.
        unsafe { ring.submission().push(entry) }
            .map_err(|_| io::Error::other("the kernel takes no submissions"))
    }

    /// Submits what is queued, runs deferred work, and waits.
    pub(in crate::rt) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let ring = self.ring.as_mut().ok_or_else(closed)?;
        #[expect(clippy::cast_possible_truncation, reason = "at most SUBMISSIONS")]
        let queued = ring.submission().len() as u32;
        let submitter = ring.submitter();
        let entered = match wait {
            // SAFETY: no argument is passed.
            Wait::No => unsafe {
                submitter.enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
            },
            // SAFETY: as above.
            Wait::Event => unsafe {
                submitter.enter::<libc::sigset_t>(queued, 1, ENTER_GETEVENTS, None)
            },
            Wait::Upto(longest) => {
                let timeout = Timespec::from(longest);
                let args = SubmitArgs::new().timespec(&timeout);
                let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
                // SAFETY: the argument is of the type that EXT_ARG says, and outlives the call.
                unsafe { submitter.enter(queued, 1, flags, Some(&args)) }
            }
        };
        match entered {
            Ok(_) => Ok(()),
            // Interrupted, timed out, or short of memory for the moment: what was not submitted is
            // still queued, and completions are there to be reaped.
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel has taken everything that was queued.
    pub(in crate::rt) fn is_submitted(&mut self) -> bool {
        self.ring.as_mut().is_none_or(|ring| ring.submission().is_empty())
    }

    /// Whether the kernel has taken everything that was queued, and kept no completion back: then
    /// what completes only if it fails has not failed, if there is no completion of it.
    pub(in crate::rt) fn has_answered(&mut self) -> bool {
        self.ring.as_mut().is_none_or(|ring| {
            let queued = ring.submission();
            queued.is_empty() && !queued.cq_overflow()
        })
    }

    /// Moves every completion that is there into `batch`.
    pub(in crate::rt) fn reap(&mut self, batch: &mut Vec<Completion>) {
        let Some(ring) = &mut self.ring else { return };
        batch.extend(ring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// Cancels everything that is in flight and waits until the kernel has let go of it.
    pub(in crate::rt) fn cancel_all(&mut self, longest: Duration) -> io::Result<()> {
        let timeout = Timespec::from(longest);
        match self.submitter()?.register_sync_cancel(Some(timeout), CancelBuilder::any().all()) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the ring is closed")
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY))
}
