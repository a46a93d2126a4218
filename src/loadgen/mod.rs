//! HTTP load with honest percentiles.
//!
//! A [`Plan`] says what to send, where, how fast and for how long; [`run`] carries it out on pinned
//! executors of its own and returns an [`Outcome`].
//!
//! | file | what |
//! |---|---|
//! | `plan`, `outcome` | what is asked for, and what came of it |
//! | `run` | starts the threads, oversees them, adds up |
//! | `thread` | one thread: hands requests to connections, and knows when it is over |
//! | `schedule`, `pacer` | when requests are due; sends them then |
//! | `connection`, `link` | one connection: its answers; its links, and what becomes of requests |
//! | `tally` | what is counted |

mod connection;
mod link;
mod outcome;
mod pacer;
mod plan;
mod run;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use outcome::{Errors, Outcome};
pub(crate) use plan::{Pace, Plan, Target, Until};
pub(crate) use run::{Progress, RunError, run};
