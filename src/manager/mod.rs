//! The manager: it keeps programs running, and answers the command line.
//!
//! It forwards no byte of traffic and no line of a log: whatever becomes of it, the programs serve.
//!
//! | file | what |
//! |---|---|
//! | `process` | one process: states and events, without a clock |
//! | `app` | an app's processes, and what is being done with them, without a clock |
//! | `engine` | the thread that does it |
//! | `foreground` | the same without a manager: `corelane run` |
//! | `ground` | what it stands on: a home, or nothing |
//! | `launch` | from a description to a process |
//! | `link` | questions to a program, and its answers |
//! | `socket` | the listening sockets, held for the apps |
//! | `passed` | those that a service manager passes, and keeps |
//! | `herald` | what a service manager hears |
//! | `health` | is the app well? |
//! | `log` | what the apps write |
//! | `claim` | the home, held, and taken again if it was removed |
//! | `store` | what is remembered |
//! | `upgrade` | from one corelane to the next |
//! | `news` | what it says unasked |
//! | `metrics` | what is counted, for Prometheus |
//! | `api` | what can be asked, over HTTP |
//! | `daemon` | the process that all of this runs in |

mod api;
mod app;
mod claim;
mod daemon;
mod engine;
mod foreground;
mod ground;
mod health;
mod herald;
mod launch;
mod link;
mod log;
mod metrics;
mod news;
mod passed;
mod process;
mod socket;
mod store;
mod upgrade;

pub(crate) use claim::open_log;
pub(crate) use daemon::{DaemonError, check_state, daemon};
pub(crate) use foreground::{Foreground, Orders};
pub(crate) use news::{News, Witness};
