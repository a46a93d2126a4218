//! A cluster as a well-behaved program: limits, signals, inherited listeners, what the operator and
//! the service manager hear, the exit code.

mod announce;
mod control;
mod exit;
mod manager;
mod program;
mod run;
mod status;

pub use exit::Exit;
#[cfg(feature = "cli")]
pub(crate) use program::{Configuration, Wanted};
#[cfg(feature = "cli")]
pub(crate) use run::run_all;
