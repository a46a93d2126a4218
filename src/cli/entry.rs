//! From the command line to a verb, and from its end to an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use super::args::{Command, Verb};
use super::exit::{Code, Failure};
use super::{
    bench, check, completion, daemon, dashboard, describe, list, logs, monit, order, run, start,
    startup,
};

/// Runs the program that the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return explain(&error),
    };
    let done = match command.verb {
        None => run::run(None, command.overrides),
        Some(verb) => obey(verb),
    };
    done.unwrap_or_else(|failure| report(&failure))
}

fn obey(verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Run { file, overrides } => run::run(file.as_deref(), overrides),
        Verb::Check { file, json } => check::check(&file, json),
        Verb::Bench(options) => bench::bench(&options),
        Verb::Start { what, only, output } => start::start(&what, &only, output),
        Verb::Plan { file, only, output } => start::plan(file.as_deref(), &only, output),
        Verb::List { workers, output } => list::list(workers, output),
        Verb::Describe { app, secrets, output } => describe::describe(&app, secrets, output),
        Verb::Logs(options) => logs::logs(&options),
        Verb::Restart(selection) => order::restart(selection),
        Verb::Reload { selection, force } => order::reload(selection, force),
        Verb::Stop(selection) => order::stop(selection),
        Verb::Delete(selection) => order::delete(selection),
        Verb::Scale { app, instances, output } => order::scale(app, instances, output),
        Verb::Reset(selection) => order::reset(selection),
        Verb::Flush(selection) => order::flush(selection),
        Verb::Save(output) => order::save(output),
        Verb::Resurrect(output) => order::resurrect(output),
        Verb::Kill(output) => order::kill(output),
        Verb::Monit => monit::monit(),
        Verb::Dashboard { listen } => dashboard::dashboard(listen),
        Verb::Ping(output) => order::ping(output),
        Verb::Startup(options) => startup::startup(&options),
        Verb::Unstartup(options) => startup::unstartup(&options),
        Verb::Upgrade(output) => order::upgrade(output),
        Verb::Daemon { check: true, .. } => daemon::check(),
        Verb::Daemon { adopt, .. } => daemon::daemon(!adopt),
        Verb::Completion { shell } => completion::completion(shell),
    }
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
