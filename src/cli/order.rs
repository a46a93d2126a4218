//! The verbs that tell the manager to do something with apps that it knows.

use std::process::ExitCode;

use super::answer;
use super::args::{Output, Selection};
use super::connect;
use super::exit::Failure;
use crate::control::{Code, Selector, Verb};
use crate::sys::child::Child;

fn selectors(apps: Vec<String>) -> Vec<Selector> {
    apps.into_iter().map(Selector).collect()
}

fn order(
    Selection { apps, output }: Selection,
    what: &str,
    verb: impl FnOnce(Vec<Selector>) -> Verb,
) -> Result<ExitCode, Failure> {
    let what = format!("{what} {}", apps.join(", "));
    answer::order(&connect::client()?, &verb(selectors(apps)), &what, output)
}

pub(super) fn restart(selection: Selection) -> Result<ExitCode, Failure> {
    order(selection, "restarting", |apps| Verb::Restart { apps })
}

pub(super) fn reload(selection: Selection, force: bool) -> Result<ExitCode, Failure> {
    order(selection, "reloading", |apps| Verb::Reload { apps, force })
}

pub(super) fn stop(selection: Selection) -> Result<ExitCode, Failure> {
    order(selection, "stopping", |apps| Verb::Stop { apps })
}

pub(super) fn delete(selection: Selection) -> Result<ExitCode, Failure> {
    order(selection, "deleting", |apps| Verb::Delete { apps })
}

pub(super) fn scale(app: String, instances: String, output: Output) -> Result<ExitCode, Failure> {
    let selection = Selection { apps: vec![app], output };
    order(selection, "scaling", |apps| Verb::Scale { apps, instances })
}

pub(super) fn reset(selection: Selection) -> Result<ExitCode, Failure> {
    order(selection, "resetting", |apps| Verb::Reset { apps })
}

pub(super) fn flush(Selection { apps, output }: Selection) -> Result<ExitCode, Failure> {
    let verb = Verb::Flush { apps: selectors(apps) };
    answer::report(&connect::client()?.ask(&verb)?, output)
}

pub(super) fn save(output: Output) -> Result<ExitCode, Failure> {
    done(&Verb::Save, "the list of apps is saved", output)
}

pub(super) fn resurrect(output: Output) -> Result<ExitCode, Failure> {
    let (client, started) = connect::client_or_start()?;
    if started {
        answer::say("a manager was started");
    }
    answer::order(&client, &Verb::Resurrect, "starting", output)
}

pub(super) fn kill(output: Output) -> Result<ExitCode, Failure> {
    let manager = connect::client()?.ask(&Verb::Ping)?.pid;
    let manager = Child::of(manager).ok();
    let code = done(&Verb::Kill, "all apps and the manager have ended", output)?;
    // It answers before it ends, and until then there can be no other.
    if let Some(manager) = manager.filter(|_| code == answer::exit(Code::Done)) {
        connect::wait_for_end(&manager);
    }
    Ok(code)
}

pub(super) fn ping(output: Output) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    let answer = client.ask(&Verb::Ping)?;
    if output.json {
        answer::json(&serde_json::json!({ "pid": answer.pid, "version": answer.version }))?;
    } else {
        answer::print(&format!("manager {}, pid {}\n", answer.version, answer.pid))?;
    }
    Ok(answer::exit(Code::Done))
}

pub(super) fn upgrade(output: Output) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    let before = client.ask(&Verb::Ping)?;
    let answer = client.ask(&Verb::Upgrade)?;
    if answer.code != Code::Done {
        return answer::report(&answer, output);
    }
    let after = answer::patiently("waiting for the new version", || connect::wait_for(&client))?;
    if output.json {
        return answer::report(&after, output);
    }
    let (old, new) = (before.version, &after.version);
    answer::say(&format!("manager {old} is now {new}, pid {}; the apps ran on", after.pid));
    Ok(answer::exit(Code::Done))
}

fn done(verb: &Verb, message: &str, output: Output) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    let answer = answer::patiently("waiting until all have ended", || client.ask(verb))?;
    let code = answer::report(&answer, output)?;
    if !output.json && answer.code == Code::Done {
        answer::say(message);
    }
    Ok(code)
}
