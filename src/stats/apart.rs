//! Keeping what one core writes away from what others write.

use std::ops::Deref;

/// A value that shares its cache lines with nothing else: a core that writes it takes no line from
/// a core that uses a neighbour. Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(T);

impl<T> Apart<T> {
    /// Keeps this apart.
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::super::{Pulse, WorkerStats};
    use super::*;

    const LINES: usize = 128;

    #[test]
    fn fills_its_cache_lines() {
        assert_eq!((align_of::<Apart<u8>>(), size_of::<Apart<u8>>()), (LINES, LINES));
        assert_eq!(*Apart::new(7), 7);
    }

    #[test]
    fn no_two_workers_write_to_one_line() {
        // Each is allocated on its own, beside whatever the allocator puts there.
        assert_eq!(align_of::<WorkerStats>() % LINES, 0);
        assert_eq!(align_of::<Pulse>() % LINES, 0);
    }

    #[test]
    fn siblings_look_at_no_line_that_a_request_writes() {
        let line = |offset: usize| offset / LINES;
        let gauge = line(offset_of!(WorkerStats, connections));
        let per_request = [
            offset_of!(WorkerStats, requests),
            offset_of!(WorkerStats, bytes_received),
            offset_of!(WorkerStats, bytes_sent),
            offset_of!(WorkerStats, statuses),
            offset_of!(WorkerStats, latency),
        ];
        assert!(per_request.iter().all(|offset| line(*offset) != gauge), "{per_request:?}");
    }
}
