//! What a worker counts, and how others read it without stopping it.
//!
//! | file | what |
//! |---|---|
//! | `answers` | what is counted once answers have been sent |
//! | `apart` | what keeps the lines of one core from another's |
//! | `counter`, `histogram` | what one thread writes and any thread reads |
//! | `worker` | all that one worker counts |
//! | `figures`, `latency` | the same at one moment, as plain data |
//! | `prometheus` | as text for Prometheus |
//! | `pulse` | whether a worker moves, and where it stands |

mod answers;
mod apart;
mod counter;
mod figures;
mod histogram;
mod latency;
mod prometheus;
mod pulse;
mod worker;

pub(crate) use answers::Answers;
pub(crate) use apart::Apart;
pub(crate) use counter::{Counter, Gauge};
pub use figures::{ClusterStats, Figures, Statuses, WorkerFigures, WorkerState};
pub(crate) use histogram::Histogram;
pub use latency::Latency;
pub(crate) use pulse::Pulse;
pub(crate) use worker::WorkerStats;
