//! The provided buffers into which the kernel receives.
//!
//! There are three kinds. A **small** buffer is with the kernel, or for the length of one look at
//! its bytes with us: the driver copies what arrived into the socket's own memory and gives the
//! buffer back at once. So a slow consumer can never hold one, and few are enough. Few also stay
//! in the cache: the ring hands them out in turn, so each that is provided is touched. A **large**
//! one that the kernel has filled for the most part goes to the socket as it is, and the kernel
//! gets another in its place. So does a **bulk** one, for who has filled a large one. Of each there
//! are few at first, and twice as many whenever the kernel ran out.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::rt::block::{self, BLOCK_BYTES, BULK_BYTES};

/// A small buffer, in bytes: 4 KiB and the head before it, or most heads alone.
const SMALL_BYTES: usize = 8 * 1024;

/// The buffers of one group of a ring. They must outlive it: the kernel writes into them until it
/// is closed.
pub(in crate::rt) struct Buffers {
    group: u16,
    /// The size of each.
    bytes: usize,
    /// How many there can be; a power of two.
    most: u16,
    entries: Pages,
    /// Empty vectors with room for so much, at the index by which the kernel names them.
    memory: Vec<Vec<u8>>,
    tail: u16,
}

impl Buffers {
    /// Registers the small ones with a ring.
    pub(in crate::rt) fn small(submitter: &Submitter<'_>) -> io::Result<Self> {
        Self::register(submitter, 0, SMALL_BYTES, 64, 1024)
    }

    /// Registers the large ones.
    pub(in crate::rt) fn large(submitter: &Submitter<'_>) -> io::Result<Self> {
        Self::register(submitter, 1, BLOCK_BYTES, 4, 256)
    }

    /// Registers those for what comes in bulk.
    pub(in crate::rt) fn bulk(submitter: &Submitter<'_>) -> io::Result<Self> {
        Self::register(submitter, 2, BULK_BYTES, 4, 64)
    }

    fn register(
        submitter: &Submitter<'_>,
        group: u16,
        bytes: usize,
        few: usize,
        most: u16,
    ) -> io::Result<Self> {
        let entries = Pages::map(usize::from(most) * size_of::<BufRingEntry>())?;
        let address = entries.start.as_ptr().addr() as u64;
        // SAFETY: the entries are page-aligned, large enough for `most`, and outlive the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, most, group, 0)? };
        let mut buffers = Self { group, bytes, most, entries, memory: Vec::new(), tail: 0 };
        buffers.provide_upto(few);
        Ok(buffers)
    }

    /// The group to name in a receive.
    pub(in crate::rt) fn group(&self) -> u16 {
        self.group
    }

    /// The first `len` bytes of a buffer that the kernel has just filled.
    pub(in crate::rt) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= self.bytes, "invariant: the kernel fills no more than there is");
        // SAFETY: in bounds by the assertion; the kernel wrote `len` bytes and leaves the buffer
        // alone until it is given back, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory[usize::from(id)].as_ptr(), len) }
    }

    /// Takes a buffer that the kernel has just filled with `len` bytes, and gives it another one.
    pub(in crate::rt) fn take(&mut self, id: u16, len: usize) -> Vec<u8> {
        assert!(len <= self.bytes, "invariant: the kernel fills no more than there is");
        let fresh = self.fresh();
        let mut filled = std::mem::replace(&mut self.memory[usize::from(id)], fresh);
        // SAFETY: in its capacity by the assertion; the kernel wrote `len` bytes and is done.
        unsafe { filled.set_len(len) };
        self.give_back(id);
        filled
    }

    /// Gives a buffer back to the kernel.
    pub(in crate::rt) fn give_back(&mut self, id: u16) {
        let slot = usize::from(self.tail % self.most);
        let start = self.memory[usize::from(id)].as_mut_ptr();
        assert!(self.entries.bytes > 0, "invariant: the ring is open");
        #[expect(clippy::cast_ptr_alignment, reason = "the start of a page")]
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `slot` is in bounds, the mapping is there by the assertion, and the kernel does
        // not read the entry before the tail has passed it; the release store publishes it.
        unsafe {
            let entry = &mut *entries.add(slot);
            entry.set_addr(start.addr() as u64);
            #[expect(clippy::cast_possible_truncation, reason = "a small constant")]
            entry.set_len(self.bytes as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// The kernel ran out: twice as many from now on.
    pub(in crate::rt) fn grow(&mut self) {
        self.provide_upto((self.memory.len() * 2).min(self.most.into()));
    }

    /// Frees the memory. The ring that knows of it must have been closed.
    pub(in crate::rt) fn close(&mut self) {
        self.entries.unmap();
        drop(std::mem::take(&mut self.memory));
    }

    /// Keeps the memory for ever, because the kernel may still write into it.
    pub(in crate::rt) fn leak(&mut self) {
        self.entries.bytes = 0;
        std::mem::forget(std::mem::take(&mut self.memory));
    }

    fn provide_upto(&mut self, count: usize) {
        for id in self.memory.len()..count {
            let fresh = self.fresh();
            self.memory.push(fresh);
            self.give_back(u16::try_from(id).expect("invariant: there are fewer"));
        }
    }

    fn fresh(&self) -> Vec<u8> {
        block::get(self.bytes)
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
