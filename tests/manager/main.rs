//! The manager as an operator meets it: real processes, a home of their own, and whatever may
//! happen to either.
//!
//! | file | what |
//! |---|---|
//! | `world` | a home, what is called in it, and its end |
//! | `client` | those who send requests meanwhile |
//! | `session` | the verbs, one after another, and what they exit with |
//! | `death` | the manager and the apps are killed |
//! | `rollout` | new versions, and those that come to nothing |
//! | `disk` | files that cannot be written, or are gone |
//! | `ending` | apps that end too often, or not at all |
//! | `state` | what a manager finds in its home |
//! | `declared` | what a file says is what runs |
//! | `environment` | what programs are given, and who gets to see it |
//! | `program` | programs of one's own, that embed corelane or do not |
//! | `boot` | systemd, as far as these tests can play it |
//! | `dashboard` | what browsers are served, and who may look |
//! | `startup` | the unit that starts it at boot |
//! | `user` | other users |
//! | `logs` | what has grown too large |
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failure of the test")]

mod boot;
mod client;
mod dashboard;
mod death;
mod declared;
mod disk;
mod ending;
mod environment;
mod logs;
#[path = "../shared/passing.rs"]
mod passing;
mod program;
mod rollout;
mod session;
mod startup;
mod state;
mod user;
mod world;
