//! The ring itself: queues, provided buffers, and nothing of what the operations mean.

mod buffers;
mod queue;

pub(super) use buffers::Buffers;
pub(super) use queue::{Completion, Queue, Wait};
