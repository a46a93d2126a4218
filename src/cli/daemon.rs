//! `corelane daemon`: the manager, in the foreground.

use std::env;
use std::io;
use std::process::ExitCode;

use super::exit::{Code, Failure};
use crate::control::Home;
use crate::manager;

/// Says whether a manager could go on with what it finds.
pub(super) fn check() -> Result<ExitCode, Failure> {
    manager::check_state(&Home::of_environment()?)?;
    Ok(Code::Done.into())
}

pub(super) fn daemon(resurrect: bool) -> Result<ExitCode, Failure> {
    let home = Home::of_environment()?;
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false);
    // What cannot be written, on a full disk, is not to be complained of at the same place.
    subscriber.with_target(false).log_internal_errors(false).init();
    let corelane = env::current_exe()
        .map_err(|error| Failure::System { what: "find this program's file", error })?;
    manager::daemon(&home, corelane, resurrect)?;
    Ok(Code::Done.into())
}
