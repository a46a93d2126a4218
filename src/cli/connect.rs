//! The way to the manager, and to one that is not there yet.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::exit::Failure;
use crate::control::{Answer, Client, ClientError, Home, Verb};
use crate::manager::open_log;
use crate::sys::child::Child;
use crate::sys::hearing;
use crate::sys::spawn::Program;

/// How long a manager may take to answer once it has been started: it may have to take over many
/// programs.
const START_MAX: Duration = Duration::from_secs(30);
/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Variables that a manager has from who starts it.
const INHERITED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"];
/// Lines of its log that are shown of a manager that did not start.
const LOG_LINES: usize = 5;

/// The manager of this user.
pub(super) fn client() -> Result<Client, Failure> {
    Ok(Client::new(&Home::of_environment()?))
}

/// The manager of this user, started if there is none; what `kill` has stopped stays so.
pub(super) fn client_or_start() -> Result<(Client, bool), Failure> {
    let home = Home::of_environment()?;
    let client = Client::new(&home);
    match client.ask(&Verb::Ping) {
        Ok(_) => return Ok((client, false)),
        Err(ClientError::NoManager { .. } | ClientError::Died { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let manager = launch(&home)?;
    let until = Instant::now() + START_MAX;
    loop {
        match client.ask(&Verb::Ping) {
            Ok(_) => return Ok((client, true)),
            Err(ClientError::NoManager { .. }) if Instant::now() < until => {}
            Err(error) => return Err(error.into()),
        }
        if manager.has_ended() {
            // Somebody else may have been quicker, and theirs may not answer yet.
            if wait_while_locked(&client, &home, manager.pid()) {
                return Ok((client, false));
            }
            return Err(not_started(&home));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits until a manager answers that is about to.
pub(super) fn wait_for(client: &Client) -> Result<Answer, ClientError> {
    let until = Instant::now() + START_MAX;
    loop {
        match client.ask(&Verb::Ping) {
            Err(_) if Instant::now() < until => thread::sleep(LOOK_EVERY),
            answer => return answer,
        }
    }
}

/// Waits for a manager that another has started, as long as it lives; whether it answers.
fn wait_while_locked(client: &Client, home: &Home, own: u32) -> bool {
    let until = Instant::now() + START_MAX;
    loop {
        if client.ask(&Verb::Ping).is_ok() {
            return true;
        }
        let holder = fs::read_to_string(home.lock()).ok();
        let holder = holder.and_then(|pid| pid.trim().parse().ok()).filter(|pid| *pid != own);
        let lives = holder.is_some_and(|pid| Child::of(pid).is_ok_and(|it| !it.has_ended()));
        // One whose home was removed makes it anew in a moment.
        let lives = lives || hearing::is_heard(&home.hearing());
        if !lives || Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits until a manager that has said it would end has ended.
pub(super) fn wait_for_end(manager: &Child) {
    let until = Instant::now() + START_MAX;
    while !manager.has_ended() && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
    }
}

/// Starts a manager that outlives this process.
fn launch(home: &Home) -> Result<Child, Failure> {
    let log = home.manager_log();
    let failed = |error: &dyn std::fmt::Display| Failure::NotStarted {
        problem: error.to_string(),
        log: log.clone(),
    };
    let corelane = env::current_exe().map_err(|error| failed(&error))?;
    let output = open_log(&log).map_err(|error| failed(&error))?;
    let null = File::open("/dev/null").map_err(|error| failed(&error))?;
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).into(), env::var_os(name)?)));
    let own = (OsString::from("CORELANE_HOME"), home.path().into());
    let program = Program {
        path: corelane,
        name: "corelane".into(),
        args: vec!["daemon".into(), "--adopt".into()],
        env: inherited.chain([own]).collect(),
        pid_env: Vec::new(),
        cwd: "/".into(),
        identity: None,
        stdio: [null.as_fd(), output.as_fd(), output.as_fd()],
        passed: Vec::new(),
        tied: false,
    };
    let pid = program.spawn().map_err(|error| failed(&error))?;
    Child::of(pid).map_err(|error| failed(&error))
}

fn not_started(home: &Home) -> Failure {
    let log = home.manager_log();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    let problem = if last.is_empty() { "it has ended".to_owned() } else { last.join("\n") };
    Failure::NotStarted { problem, log }
}
