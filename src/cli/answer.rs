//! What the manager has done, for people and for programs; and something to look at meanwhile.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::Output;
use super::exit::Failure;
use super::list;
use crate::control::{Answer, Client, ClientError, Code, Verb};

/// What takes longer is shown to be under way.
const UNSEEN: Duration = Duration::from_secs(1);

/// Has the manager do something, says what has come of it, and shows the apps afterwards.
pub(super) fn order(
    client: &Client,
    verb: &Verb,
    what: &str,
    output: Output,
) -> Result<ExitCode, Failure> {
    let answer = patiently(what, || client.ask(verb))?;
    let code = report(&answer, output)?;
    if !output.json && answer.error.is_none() {
        list::print(client, false)?;
    }
    Ok(code)
}

/// Says what has come of it.
pub(super) fn report(answer: &Answer, output: Output) -> Result<ExitCode, Failure> {
    if output.json {
        json(answer)?;
        return Ok(exit(answer.code));
    }
    if let Some(error) = &answer.error {
        say(&format!("error: {error}"));
    }
    for outcome in &answer.outcomes {
        say(&format!("{}: {}", outcome.app, outcome.message));
        outcome.log.iter().for_each(|line| say(&format!("    {line}")));
    }
    Ok(exit(answer.code))
}

pub(super) fn exit(code: Code) -> ExitCode {
    ExitCode::from(code.number())
}

/// Says something to people.
pub(super) fn say(line: &str) {
    // With stderr closed, the exit code still tells.
    let _closed = writeln!(io::stderr().lock(), "{line}");
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&format!("{text}\n"))
}

/// Prints to stdout, whose reader may have seen enough.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(Failure::Output),
    }
}

/// Does something that may take a while, and says so on a terminal if it does.
pub(super) fn patiently<T>(
    what: &str,
    act: impl FnOnce() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    if !io::stderr().is_terminal() {
        return act();
    }
    let (done, waiting) = mpsc::channel::<()>();
    let what = what.to_owned();
    let shown = thread::spawn(move || {
        if waiting.recv_timeout(UNSEEN) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        // It ends when the sender goes.
        let _over = waiting.recv();
        bar.finish_and_clear();
    });
    let result = act();
    drop(done);
    let _shown = shown.join();
    result
}
