//! The command line: one file per verb.
//!
//! Data goes to stdout, everything else to stderr; `exit` lists what the program exits with.

mod args;
mod bench;
mod check;
mod entry;
mod exit;
mod run;

pub use entry::main;
