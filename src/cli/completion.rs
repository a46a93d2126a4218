//! `corelane completion SHELL`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::args::Command;
use super::exit::{Code, Failure};

pub(super) fn completion(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Command::command(), "corelane", &mut script);
    io::stdout().lock().write_all(&script).map_err(Failure::Output)?;
    Ok(Code::Done.into())
}
