//! The provided buffers into which the kernel receives.
//!
//! A buffer is with the kernel, or for the length of one look at its bytes with us: the driver
//! copies what arrived into the socket's own memory and gives the buffer back at once. So a slow
//! consumer can never hold one, and few are enough. Few also stay in the cache: the ring hands
//! them out in turn, so each that is provided is touched. It starts small and doubles whenever the
//! kernel ran out.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// One buffer, in bytes.
pub(in crate::rt) const BUFFER_BYTES: usize = 4096;
/// How many there can be.
const BUFFERS_MAX: u16 = 1024;
/// How many are provided at first.
const BUFFERS_START: u16 = 64;
/// The only group of a ring.
const GROUP: u16 = 0;

/// The buffers of one ring. They must outlive it: the kernel writes into them until it is closed.
pub(in crate::rt) struct Buffers {
    entries: Pages,
    memory: Pages,
    provided: u16,
    tail: u16,
}

impl Buffers {
    /// The group to name in a receive.
    pub(in crate::rt) const GROUP: u16 = GROUP;

    /// Registers the buffers with a ring.
    pub(in crate::rt) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = Pages::map(usize::from(BUFFERS_MAX) * size_of::<BufRingEntry>())?;
        let memory = Pages::map(usize::from(BUFFERS_MAX) * BUFFER_BYTES)?;
        let address = entries.start.as_ptr().addr() as u64;
        // SAFETY: the entries are page-aligned, large enough for BUFFERS_MAX, and outlive the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS_MAX, GROUP, 0)? };
        let mut buffers = Self { entries, memory, provided: 0, tail: 0 };
        buffers.provide_upto(BUFFERS_START);
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that the kernel has just filled.
    pub(in crate::rt) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(self.has(id) && len <= BUFFER_BYTES, "invariant: the kernel names our buffers");
        // SAFETY: in bounds and mapped by the assertion; the kernel wrote `len` bytes and leaves
        // the buffer alone until it is given back, which takes `&mut self`.
        unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(id) * BUFFER_BYTES);
            std::slice::from_raw_parts(start, len)
        }
    }

    /// Gives a buffer back to the kernel.
    pub(in crate::rt) fn give_back(&mut self, id: u16) {
        assert!(self.has(id), "invariant: the kernel names our buffers");
        let slot = usize::from(self.tail % BUFFERS_MAX);
        #[expect(clippy::cast_ptr_alignment, reason = "the start of a page")]
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot` is in bounds, both mappings are there by the assertion, and the kernel
        // does not read the entry before the tail has passed it; the release store publishes it.
        unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(id) * BUFFER_BYTES);
            let entry = &mut *entries.add(slot);
            entry.set_addr(start.addr() as u64);
            #[expect(clippy::cast_possible_truncation, reason = "a constant of 4096")]
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// The kernel ran out: twice as many from now on.
    pub(in crate::rt) fn grow(&mut self) {
        self.provide_upto(self.provided.saturating_mul(2).min(BUFFERS_MAX));
    }

    /// Frees the memory. The ring that knows of it must have been closed.
    pub(in crate::rt) fn close(&mut self) {
        self.entries.unmap();
        self.memory.unmap();
    }

    /// Whether there is such a buffer: no longer once the memory is gone.
    fn has(&self, id: u16) -> bool {
        usize::from(id) * BUFFER_BYTES < self.memory.bytes
    }

    /// Keeps the memory for ever, because the kernel may still write into it.
    pub(in crate::rt) fn leak(&mut self) {
        self.entries.bytes = 0;
        self.memory.bytes = 0;
    }

    fn provide_upto(&mut self, count: u16) {
        for id in self.provided..count {
            self.give_back(id);
        }
        self.provided = self.provided.max(count);
    }
}

/// Anonymous pages; resident only where they have been touched.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn map(bytes: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping touches no memory that anyone has.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Pages {
    fn unmap(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes == 0 {
            return;
        }
        // SAFETY: mapped by `map`, with this length, and unmapped once. The owner does so after
        // the ring that knows of it has gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.unmap();
    }
}
