//! The command line: one file per verb.
//!
//! Data goes to stdout, everything else to stderr; `exit` lists what the program exits with.

mod answer;
mod args;
mod bench;
mod check;
mod completion;
mod connect;
mod daemon;
mod dashboard;
mod describe;
mod entry;
mod exit;
mod follower;
mod list;
mod logs;
mod monit;
mod order;
mod run;
mod start;
mod startup;

pub use entry::main;
