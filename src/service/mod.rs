//! A cluster as a well-behaved program: limits, signals, what the operator reads, the exit code.

mod announce;
mod exit;
mod run;

pub use exit::Exit;
#[cfg(feature = "cli")]
pub(crate) use run::run_all;
