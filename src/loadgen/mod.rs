//! HTTP load with honest percentiles.
//!
//! A [`Plan`] says what to send, where, how fast and for how long; [`run`] carries it out on pinned
//! executors of its own and returns an [`Outcome`].
//!
//! | file | what |
//! |---|---|
//! | `url`, `request` | what the user names, as an address and bytes |
//! | `plan`, `outcome` | what is asked for, and what came of it |
//! | `run` | starts the threads, oversees them, adds up |
//! | `thread` | one thread: hands requests to connections, and knows when it is over |
//! | `schedule`, `pacer` | when requests are due; sends them then |
//! | `connection`, `link` | one connection: its answers; its links, and what becomes of requests |
//! | `tally` | what is counted |
//! | `figures`, `report` | what it comes to, as JSON and for people |
//! | `ratio`, `versus` | two servers in turn |
//! | `hgrm`, `plot` | the latencies as files |

mod connection;
mod figures;
mod hgrm;
mod link;
mod outcome;
mod pacer;
mod plan;
mod plot;
mod ratio;
mod report;
mod request;
mod run;
#[cfg(test)]
mod sample;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod url;
mod versus;

pub(crate) use figures::{Figures, Used};
pub(crate) use hgrm::Hgrm;
pub(crate) use outcome::{Errors, Outcome};
pub(crate) use plan::{Pace, Plan, Target, Until};
pub(crate) use plot::Plot;
pub(crate) use report::Report;
pub(crate) use request::{Header, Request};
pub(crate) use run::{Progress, RunError, run};
pub(crate) use url::{Url, UrlError};
pub(crate) use versus::Versus;
