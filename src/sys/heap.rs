//! When the allocator gives memory back to the kernel.
#![expect(unsafe_code, reason = "the allocator is the C library's")]

use std::env;

/// A thread keeps up to so much free memory at the end of its heap, in bytes.
const KEPT: i32 = 32 * 1024 * 1024;
/// A block from this size on is a mapping of its own, in bytes: larger than any block that a
/// request takes within the usual limits.
const MAPPED_FROM: i32 = 4 * 1024 * 1024;
/// By these a user says it himself.
const OVERRIDES: [&str; 3] = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];

/// Has the allocator keep what was freed, for the whole process, unless its environment says when
/// to give it back.
///
/// glibc gives it back whenever 128 KiB are free at the end of a thread's heap. With bodies of
/// 64 KiB that is every few requests: the kernel takes the pages away, interrupts every core that
/// runs a thread of the process, so that it forgets them too, and then clears them anew, one page
/// fault each.
pub(crate) fn keep_memory() {
    if OVERRIDES.iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, MAPPED_FROM)]
    {
        // SAFETY: takes two numbers; it locks what it changes. Where it refuses them it goes on as
        // before.
        let _taken = unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;
    use crate::sys::alone::alone;

    /// Uses as much memory at once as a few large requests, and gives it back.
    fn use_memory() {
        let blocks: Vec<_> = (1..=4_u8).map(|byte| vec![byte; 2 * 1024 * 1024]).collect();
        std::hint::black_box(blocks);
    }

    #[test]
    fn memory_that_was_freed_is_used_again_without_asking_the_kernel() {
        // Among many threads this one would share a heap with another test's.
        if !alone(&[]) {
            return;
        }
        keep_memory();
        let faults = std::thread::spawn(|| {
            (0..4).for_each(|_| use_memory());
            let before = faults_of_thread();
            (0..10).for_each(|_| use_memory());
            faults_of_thread() - before
        });
        let faults = faults.join().unwrap();
        assert!(faults < 200, "{faults} page faults for 20,480 pages");
    }

    fn faults_of_thread() -> i64 {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the kernel fills the struct, or says that it has not.
        unsafe {
            assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
            usage.assume_init().ru_minflt
        }
    }
}
