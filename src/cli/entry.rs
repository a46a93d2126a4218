//! From the command line to a verb, and from its end to an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use super::args::{Command, Verb};
use super::exit::{Code, Failure};
use super::{bench, check, run};

/// Runs the program that the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return explain(&error),
    };
    let done = match command.verb {
        None => run::run(None, command.overrides),
        Some(Verb::Run { file, overrides }) => run::run(file.as_deref(), overrides),
        Some(Verb::Check { file, json }) => check::check(&file, json),
        Some(Verb::Bench(options)) => bench::bench(&options),
    };
    done.unwrap_or_else(|failure| report(&failure))
}

/// Prints the help, the version or the usage error that clap came back with.
fn explain(error: &clap::Error) -> ExitCode {
    // Help goes to stdout, which may be closed: there is nobody left to be told.
    let _ = error.print();
    let code = if error.use_stderr() { Code::Usage } else { Code::Done };
    code.into()
}

fn report(failure: &Failure) -> ExitCode {
    // A configuration's mistakes begin with their place, as a compiler's do.
    let prefix = match failure {
        Failure::Config(crate::config::ConfigError::Wrong { .. }) => "",
        _ => "error: ",
    };
    // With stderr closed, the exit code still tells.
    let _ = writeln!(io::stderr().lock(), "{prefix}{failure}");
    failure.code().into()
}
