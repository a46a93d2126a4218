//! Counts what a thread allocates, in tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// How often our code has asked for memory, or for more of it, on the calling thread: within the
/// polls of tasks and the turns of the ring. What glommio allocates between them, when it looks at
/// its rings, goes by the clock and not by the request.
pub(crate) fn allocations() -> u64 {
    COUNT.get()
}

/// Counts until the guard goes.
pub(crate) fn counting() -> impl Drop {
    struct Guard(bool);

    impl Drop for Guard {
        fn drop(&mut self) {
            OURS.set(self.0);
        }
    }

    Guard(OURS.replace(true))
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if OURS.get() {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: all is left to the system's allocator. The counter is neither allocated nor dropped, so
// that it can be used from within.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
