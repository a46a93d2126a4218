//! A cluster as a well-behaved program: limits, signals, inherited listeners, what the operator and
//! the service manager hear, the exit code.

mod announce;
mod companion;
mod control;
mod exit;
mod manager;
mod program;
mod run;
mod status;

#[cfg(feature = "cli")]
pub(crate) use companion::{Change, Companions, Listener, Order, Word};
pub use exit::Exit;
#[cfg(feature = "cli")]
pub(crate) use program::{Configuration, Parts, Wanted};
#[cfg(feature = "cli")]
pub(crate) use run::run_all;
