//! Large pieces of memory for what is received, used again and again.
//!
//! The allocator would take each from a heap that it trims and grows again, page fault by page
//! fault. So every executor's thread keeps some.

use std::cell::RefCell;

use bytes::Bytes;

/// One block, in bytes: what a sender writes at once, 64 KiB as a rule, and a request's head before
/// it.
pub(super) const BLOCK_BYTES: usize = 68 * 1024;
/// From so many bytes on handing memory on is cheaper than copying it.
pub(crate) const WORTH_KEEPING: usize = 16 * 1024;
/// How many blocks a thread keeps.
const KEPT_MAX: usize = 64;

thread_local! {
    /// Of an executor's thread only.
    static KEPT: RefCell<Option<Vec<Vec<u8>>>> = const { RefCell::new(None) };
}

/// An empty vector with room for a block.
pub(super) fn get() -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(|kept| kept.as_mut().and_then(Vec::pop));
    kept.unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES))
}

/// Keeps a block for the next [`get`]; frees anything else.
pub(super) fn put(mut memory: Vec<u8>) {
    if memory.capacity() != BLOCK_BYTES {
        return;
    }
    memory.clear();
    // A thread that ends has nothing to keep it in.
    let _ = KEPT.try_with(|kept| {
        if let Some(kept) = &mut *kept.borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(memory);
        }
    });
}

/// Whether this is the memory of a block.
pub(super) fn is(memory: &Vec<u8>) -> bool {
    memory.capacity() == BLOCK_BYTES
}

/// Keeps blocks on this thread until the guard goes.
pub(super) fn keep() -> impl Drop {
    struct Guard;

    impl Drop for Guard {
        fn drop(&mut self) {
            drop(KEPT.take());
        }
    }

    KEPT.set(Some(Vec::new()));
    Guard
}

/// Makes received bytes shared without copying them. Their memory is used again once nobody has
/// them any more, if that happens on the thread of an executor.
pub(crate) fn share(received: Vec<u8>) -> Bytes {
    struct Shared(Vec<u8>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            put(std::mem::take(&mut self.0));
        }
    }

    Bytes::from_owner(Shared(received))
}

/// How many blocks this thread keeps.
#[cfg(test)]
pub(crate) fn blocks_kept() -> usize {
    KEPT.with_borrow(|kept| kept.as_ref().map_or(0, Vec::len))
}
