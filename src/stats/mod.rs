//! What a worker counts, and how others read it without stopping it.

mod counter;
mod worker;

pub(crate) use counter::Counter;
pub(crate) use worker::WorkerStats;
