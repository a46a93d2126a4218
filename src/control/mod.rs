//! What the command line, the manager and the programs say to one another.
//!
//! The command line asks the manager over HTTP/1.1 and JSON at a Unix socket ([`Client`], [`Verb`],
//! [`Answer`]). The manager asks a program over lines of JSON at a socket that the program has been
//! given ([`wire`]), with which descriptors can travel.
//!
//! | file | what |
//! |---|---|
//! | `home` | where the manager keeps its files |
//! | `spec` | what an app is to be |
//! | `verb`, `report` | what is asked of the manager, and what it answers |
//! | `client` | who asks, and waits |
//! | `wire` | between the manager and a program |

#[cfg(feature = "cli")]
mod client;
#[cfg(feature = "cli")]
mod home;
#[cfg(feature = "cli")]
mod report;
#[cfg(feature = "cli")]
mod spec;
#[cfg(feature = "cli")]
mod verb;
pub(crate) mod wire;

#[cfg(feature = "cli")]
pub(crate) use client::{Client, ClientError, status_of};
#[cfg(feature = "cli")]
pub(crate) use home::{Home, HomeError};
#[cfg(feature = "cli")]
pub(crate) use report::{
    AppReport, LogFiles, MachineReport, ManagerReport, Overview, SCHEMA, Status,
};
#[cfg(all(test, feature = "cli"))]
pub(crate) use spec::tests::spec as plain_spec;
#[cfg(feature = "cli")]
pub(crate) use spec::{Health, Kind, Logs, RestartRules, Spec, Waits};
#[cfg(feature = "cli")]
pub(crate) use verb::{Answer, Code, Outcome, STARTED_AGAIN, Selector, Verb};
