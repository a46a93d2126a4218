//! `corelane start` and `corelane plan`: from a file to apps that run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::answer;
use super::args::Output;
use super::connect;
use super::exit::Failure;
use crate::config::Config;
use crate::control::{Outcome, Selector, Spec, Verb};

/// What is started if nothing is named.
const DEFAULT_FILE: &str = "corelane.toml";

/// Starts what is named: apps of a file, or apps that the manager knows.
pub(super) fn start(what: &[String], only: &[String], output: Output) -> Result<ExitCode, Failure> {
    let verb = match what {
        [] => Verb::Apply { specs: specs(Path::new(DEFAULT_FILE), only)?, dry: false },
        [file] if is_file(file) => Verb::Apply { specs: specs(Path::new(file), only)?, dry: false },
        names if names.iter().any(|name| is_file(name)) => {
            let problem = "a file is started by itself, not beside others".to_owned();
            return Err(Failure::Usage { problem, hint: "call `corelane start` for each" });
        }
        _ if !only.is_empty() => {
            let problem = "--only chooses among the apps of a file".to_owned();
            return Err(Failure::Usage { problem, hint: "name the file, or leave --only out" });
        }
        names => Verb::Start { apps: names.iter().cloned().map(Selector).collect() },
    };
    let (client, started) = connect::client_or_start()?;
    if started {
        answer::say("a manager was started");
    }
    let names = match &verb {
        Verb::Apply { specs, .. } => specs.iter().map(|spec| spec.name.as_str()).collect(),
        _ => what.iter().map(String::as_str).collect::<Vec<_>>(),
    };
    answer::order(&client, &verb, &format!("starting {}", names.join(", ")), output)
}

/// Says what `start` would change.
pub(super) fn plan(
    file: Option<&Path>,
    only: &[String],
    output: Output,
) -> Result<ExitCode, Failure> {
    let specs = specs(file.unwrap_or(Path::new(DEFAULT_FILE)), only)?;
    let answer = connect::client()?.ask(&Verb::Apply { specs, dry: true })?;
    if output.json || answer.error.is_some() {
        return answer::report(&answer, output);
    }
    let text: String = answer.outcomes.iter().map(in_words).collect();
    answer::print(&text)?;
    Ok(answer::exit(answer.code))
}

fn in_words(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.app, outcome.message);
    for change in &outcome.changes {
        let line = match (&change.old, &change.new) {
            (None, Some(new)) => format!("  + {} = {new}\n", change.key),
            (Some(old), None) => format!("  - {} = {old}\n", change.key),
            (Some(old), Some(new)) if old == new => format!("  ~ {}: {new}\n", change.key),
            (old, new) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_default();
                format!("  ~ {}: {} -> {}\n", change.key, shown(old), shown(new))
            }
        };
        text.push_str(&line);
    }
    text
}

/// What looks like a file is one; an app's name never does.
fn is_file(argument: &str) -> bool {
    argument.contains('/') || Path::new(argument).extension().is_some_and(|it| it == "toml")
}

/// The apps of a file, as they are to be run from here.
fn specs(file: &Path, only: &[String]) -> Result<Vec<Spec>, Failure> {
    let config = Config::load(file)?;
    let here = env::current_dir()
        .map_err(|error| Failure::System { what: "find the current directory", error })?;
    let path: PathBuf = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut specs = config.specs(&path, &here, |name| env::var(name).ok());
    if let Some(name) = only.iter().find(|name| !specs.iter().any(|spec| spec.name == **name)) {
        let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let problem = format!("{} has no app `{name}`, only {}", file.display(), known.join(", "));
        return Err(Failure::Usage { problem, hint: "check the spelling after --only" });
    }
    specs.retain(|spec| only.is_empty() || only.contains(&spec.name));
    Ok(specs)
}
