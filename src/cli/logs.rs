//! `corelane logs`: the last lines of the apps' logs, and what is written from now on.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::args::LogOptions;
use super::exit::Failure;
use super::follower::Follower;
use super::{answer, connect, list};
use crate::control::{AppReport, Code, Overview, Selector};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// ANSI colours that apps are told apart by.
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

pub(super) fn logs(options: &LogOptions) -> Result<ExitCode, Failure> {
    let overview: Overview = connect::client()?.get("/v1/apps")?;
    let mut apps: Vec<AppReport> = overview.apps;
    let selectors: Vec<_> = options.apps.iter().cloned().map(Selector).collect();
    for selector in &selectors {
        if !selector.is_all() && !apps.iter().any(|app| selector.is(app.id, &app.name)) {
            let hint = "`corelane list` lists them";
            answer::say(&format!("error: no app is called `{selector}`; hint: {hint}"));
            return Ok(answer::exit(Code::NotFound));
        }
    }
    let meant = |app: &AppReport| selectors.iter().any(|selector| selector.is(app.id, &app.name));
    apps.retain(|app| selectors.is_empty() || meant(app));
    let colourful = list::colourful() && !options.json;
    let mut followers = Vec::new();
    for (app, colour) in apps.iter().zip(COLOURS.iter().cycle()) {
        let wanted = |follower: &Follower| match follower.stream {
            "out" => !options.err,
            _ => !options.out,
        };
        let colour = colourful.then_some(*colour);
        let both = Follower::both(app).into_iter().filter(wanted);
        followers.extend(both.map(|follower| (follower, colour)));
    }
    for (follower, colour) in &mut followers {
        for line in follower.last(options.lines) {
            print(follower, *colour, &line, options.json)?;
        }
    }
    if options.nostream {
        return Ok(answer::exit(Code::Done));
    }
    loop {
        thread::sleep(LOOK_EVERY);
        for (follower, colour) in &mut followers {
            for line in follower.read() {
                print(follower, *colour, &line, options.json)?;
            }
        }
    }
}

fn print(from: &Follower, colour: Option<u8>, line: &str, json: bool) -> Result<(), Failure> {
    let Follower { app, stream, .. } = from;
    if json {
        let line = serde_json::json!({ "app": app, "stream": stream, "message": line });
        return answer::print(&format!("{line}\n"));
    }
    match colour {
        Some(colour) => answer::print(&format!("\u{1b}[{colour}m{app} |\u{1b}[0m {line}\n")),
        None => answer::print(&format!("{app} | {line}\n")),
    }
}
