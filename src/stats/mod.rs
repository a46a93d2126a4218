//! What a worker counts, and how others read it without stopping it.

mod counter;
mod pulse;
mod worker;

pub(crate) use counter::{Counter, Gauge};
pub(crate) use pulse::Pulse;
pub(crate) use worker::WorkerStats;
