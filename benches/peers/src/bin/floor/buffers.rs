//! The ring of buffers that the kernel fills when something has come.

#![expect(unsafe_code, reason = "the ring is shared with the kernel; each block says how")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// How many buffers; a power of two, as the kernel demands.
const COUNT: u16 = 512;

/// How large each is: 16 pipelined requests fit.
const BYTES: u32 = 4096;

/// The alignment that the kernel demands of the ring.
const PAGE: usize = 4096;

/// The ring and its buffers; both are leaked, so that the kernel may use them to the last.
pub(crate) struct Buffers {
    ring: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    /// The group that a recv names to be given one of these buffers.
    pub(crate) const GROUP: u16 = 0;

    /// Allocates the buffers and gives all of them to the kernel.
    pub(crate) fn register(ring: &IoUring) -> io::Result<Buffers> {
        let entries = zeroed(usize::from(COUNT) * size_of::<BufRingEntry>()).cast();
        let memory = zeroed(usize::from(COUNT) * BYTES as usize);
        // SAFETY: the entries are page-aligned, zeroed, as many as said, and never freed.
        unsafe {
            let address = entries as u64;
            ring.submitter().register_buf_ring_with_flags(address, COUNT, Self::GROUP, 0)?;
        }
        let mut buffers = Buffers { ring: entries, memory, tail: 0 };
        for id in 0..COUNT {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// What the kernel wrote to a buffer that it has not been given back yet.
    pub(crate) fn filled(&self, id: u16, length: usize) -> &[u8] {
        assert!(id < COUNT && length <= BYTES as usize, "the kernel named a buffer it has not");
        // SAFETY: within the allocation, as just checked; initialised from the start; the kernel
        // writes to it only after `give_back`, which borrows `self` mutably.
        unsafe { std::slice::from_raw_parts(self.address(id), length) }
    }

    /// Lets the kernel fill a buffer again.
    pub(crate) fn give_back(&mut self, id: u16) {
        assert!(id < COUNT, "the kernel named a buffer it has not");
        let index = usize::from(self.tail & (COUNT - 1));
        // SAFETY: the index is within the ring. The kernel reads an entry only once the tail has
        // passed it, and there are never more buffers given than entries.
        let entry = unsafe { &mut *self.ring.add(index) };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(BYTES);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the ring's first entry, where nobody else writes; the kernel
        // reads it, so it is written as an atomic, after the entry.
        unsafe {
            let tail = BufRingEntry::tail(self.ring).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    fn address(&self, id: u16) -> *mut u8 {
        // SAFETY: callers have checked the id; the allocation holds COUNT buffers.
        unsafe { self.memory.add(usize::from(id) * BYTES as usize) }
    }
}

/// Memory of its own pages, never freed.
fn zeroed(bytes: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes, PAGE).expect("invariant: sizes are constants");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() { handle_alloc_error(layout) } else { memory }
}
