//! Large pieces of memory for what is received, used again and again.
//!
//! The allocator would take each from a heap that it trims and grows again, page fault by page
//! fault. So every executor's thread keeps some.

use std::cell::RefCell;

use bytes::Bytes;

/// One block, in bytes: what a sender writes at once, 64 KiB as a rule, and a request's head before
/// it.
pub(super) const BLOCK_BYTES: usize = 68 * 1024;
/// A bulk block, in bytes: for a body that fills blocks faster than they are taken. Fewer and
/// longer receives and sends cost a quarter less; docs/ARCHITECTURE.md has the figures.
pub(super) const BULK_BYTES: usize = 260 * 1024;
/// From so many bytes on handing memory on is cheaper than copying it.
pub(crate) const WORTH_KEEPING: usize = 16 * 1024;
/// How many blocks a thread keeps.
const KEPT_MAX: usize = 64;
/// And how many bulk blocks.
const BULK_KEPT_MAX: usize = 32;

/// Blocks for the next who needs one.
#[derive(Default)]
struct Kept {
    blocks: Vec<Vec<u8>>,
    bulk: Vec<Vec<u8>>,
}

impl Kept {
    /// Where those of this size are, and how many there can be; none for what is no block.
    fn shelf(&mut self, bytes: usize) -> Option<(&mut Vec<Vec<u8>>, usize)> {
        match bytes {
            BLOCK_BYTES => Some((&mut self.blocks, KEPT_MAX)),
            BULK_BYTES => Some((&mut self.bulk, BULK_KEPT_MAX)),
            _ => None,
        }
    }
}

thread_local! {
    /// Of an executor's thread only.
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// An empty vector with room for so many bytes: a kept block if they are one.
pub(super) fn get(bytes: usize) -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(|kept| kept.as_mut()?.shelf(bytes)?.0.pop());
    kept.unwrap_or_else(|| Vec::with_capacity(bytes))
}

/// Keeps a block for the next [`get`]; frees anything else.
pub(super) fn put(mut memory: Vec<u8>) {
    if !is(&memory) {
        return;
    }
    memory.clear();
    // A thread that ends has nothing to keep it in.
    let _ = KEPT.try_with(|kept| {
        if let Some((shelf, most)) =
            kept.borrow_mut().as_mut().and_then(|kept| kept.shelf(memory.capacity()))
            && shelf.len() < most
        {
            shelf.push(memory);
        }
    });
}

/// Whether this is the memory of a block.
pub(super) fn is(memory: &Vec<u8>) -> bool {
    matches!(memory.capacity(), BLOCK_BYTES | BULK_BYTES)
}

/// Keeps blocks on this thread until the guard goes.
pub(super) fn keep() -> impl Drop {
    struct Guard;

    impl Drop for Guard {
        fn drop(&mut self) {
            drop(KEPT.take());
        }
    }

    KEPT.set(Some(Kept::default()));
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

/// How many blocks this thread keeps, and how many bulk blocks.
#[cfg(test)]
pub(crate) fn blocks_kept() -> (usize, usize) {
    KEPT.with_borrow(|kept| kept.as_ref().map_or((0, 0), |it| (it.blocks.len(), it.bulk.len())))
}
