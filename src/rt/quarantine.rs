//! Where memory goes that the kernel should have let go of.
//!
//! Sanitizers do not see what the kernel writes. So in test builds (and with
//! `--cfg corelane_quarantine`) memory of a finished operation that nobody takes back is not
//! freed: it is filled with a pattern, kept, and checked when the driver ends. A byte that has
//! changed is a write by an operation that was thought to be over; a pattern that a client
//! receives is a send from freed memory.

#[cfg(any(test, corelane_quarantine))]
mod kept {
    const PATTERN: u8 = 0xA5;
    /// How many pieces are kept; the oldest is checked and freed.
    const KEPT_MAX: usize = 4096;

    /// Memory under watch.
    #[derive(Default)]
    pub(in crate::rt) struct Quarantine {
        kept: std::collections::VecDeque<Vec<u8>>,
    }

    impl Quarantine {
        /// Takes memory that no operation may touch any more.
        pub(in crate::rt) fn take(&mut self, mut memory: Vec<u8>) {
            memory.resize(memory.capacity(), 0);
            memory.fill(PATTERN);
            self.kept.push_back(memory);
            if self.kept.len() > KEPT_MAX {
                self.kept.pop_front().iter().for_each(|memory| check(memory));
            }
        }

        /// Checks all of it.
        pub(in crate::rt) fn check(&self) {
            self.kept.iter().for_each(|memory| check(memory));
        }
    }

    fn check(memory: &[u8]) {
        let changed = memory.iter().position(|byte| *byte != PATTERN);
        assert_eq!(changed, None, "the kernel wrote to memory of a finished operation");
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn notices_a_late_write() {
            let mut quarantine = Quarantine::default();
            quarantine.take(vec![1; 64]);
            quarantine.check();
            quarantine.kept[0][63] = 0;
            assert!(std::panic::catch_unwind(|| quarantine.check()).is_err());
        }
    }
}

#[cfg(not(any(test, corelane_quarantine)))]
mod kept {
    /// In ordinary builds memory is simply freed.
    #[derive(Default)]
    pub(in crate::rt) struct Quarantine(());

    #[expect(clippy::unused_self, reason = "the same face as in test builds")]
    impl Quarantine {
        /// Frees memory that no operation may touch any more.
        pub(in crate::rt) fn take(&mut self, memory: Vec<u8>) {
            drop(memory);
        }

        /// Nothing is kept.
        pub(in crate::rt) fn check(&self) {}
    }
}

pub(super) use kept::Quarantine;
