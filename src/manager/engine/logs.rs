//! The logs of the apps: opened for them, put aside, and opened again where they have gone.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::super::app::App;
use super::super::link::Purpose;
use super::super::log::{self, Rotation, Writer};
use super::{Engine, Place};
use crate::control::Spec;
use crate::control::wire::Ask;

impl Engine {
    /// What a process is to write to. One that nobody has ordered now serves on without, if there
    /// is nothing that it could write to.
    pub(super) fn open_logs(&mut self, place: Place, spec: &Spec) -> Result<[File; 2], String> {
        self.unlogged.remove(&place);
        let Some(files) = self.ground.logs(spec) else {
            return own_output().map_err(|error| format!("cannot pass its output on: {error}"));
        };
        let error = match log::open(&files) {
            Ok(opened) => return Ok(opened),
            Err(error) => format!("cannot open its logs: {error}"),
        };
        let app = self.apps.get(&place.0);
        let ordered = app.is_some_and(|app| !app.is_idle() && !self.is_recalled(place.0));
        let null = || File::options().write(true).open("/dev/null");
        match (null(), null()) {
            (Ok(out), Ok(err)) if !ordered => {
                tracing::warn!("{}: started without logs: {error}", spec.name);
                self.unlogged.insert(place);
                Ok([out, err])
            }
            _ => Err(error),
        }
    }

    fn is_recalled(&self, id: u32) -> bool {
        self.recalled.values().any(|other| *other == id)
    }

    /// Why what an app says is not kept at the moment, if it is not.
    pub(super) fn log_problem(&self, app: &App) -> Option<String> {
        let (id, spec) = (app.id(), app.spec());
        let pids: Vec<_> = self.serving(id).map(|life| life.child().pid()).collect();
        if pids.is_empty() {
            return None;
        }
        let files = self.ground.logs(spec)?;
        let unlogged = self.unlogged.iter().any(|(other, _)| *other == id);
        let problem = if unlogged {
            let dir = files.err.parent().unwrap_or(&files.err);
            format!("its logs could not be opened in {}", dir.display())
        } else {
            let root = rustix::process::geteuid().is_root() && spec.user.is_none();
            log::obstacle(&files, Writer { pids: &pids, privileged: root })?
        };
        let name = &spec.name;
        Some(match app.embeds() {
            Some(true) => problem,
            _ if problem.ends_with("(os error 28)") => problem,
            _ => format!("{problem}; hint: `corelane reload {name}` opens it again"),
        })
    }

    pub(super) fn look_after_logs(&mut self) {
        let mut problem = None;
        let ids: Vec<_> = self.apps.keys().copied().collect();
        for id in ids {
            if let Err(error) = self.look_after_log(id) {
                problem = Some(error);
            }
        }
        match problem {
            Some(problem) => drop(self.problems.insert("logs", problem)),
            None => drop(self.problems.remove("logs")),
        }
    }

    /// Puts aside what has grown too large, and has programs that can be told write to the files
    /// that are to be theirs.
    fn look_after_log(&mut self, id: u32) -> Result<(), String> {
        let Some(app) = self.apps.get(&id) else { return Ok(()) };
        let (spec, embeds) = (app.spec(), app.embeds() == Some(true));
        let Some(files) = self.ground.logs(spec) else { return Ok(()) };
        let how = if embeds { Rotation::Rename } else { Rotation::Copy };
        let failed = |what: &str, error: io::Error| {
            format!("{}: its logs cannot be {what}: {error}", spec.name)
        };
        let rotated = log::rotate(&files, spec, how);
        let mut lives: Vec<_> = self.lives.iter_mut().filter(|((of, _), _)| *of == id).collect();
        let renamed = *rotated.as_ref().unwrap_or(&false);
        let astray =
            |place: &Place, pid| self.unlogged.contains(place) || log::is_astray(&files, pid);
        lives.retain(|(place, life)| renamed || astray(place, life.child().pid()));
        if embeds && !lives.is_empty() {
            let opened = log::open(&files).map_err(|error| failed("opened again", error))?;
            let output = [opened[0].as_fd(), opened[1].as_fd()];
            for (place, life) in lives {
                // One that does not hear writes on to the file that was put aside.
                let told = life
                    .link_mut()
                    .is_some_and(|link| link.ask_with(Ask::Logs, Purpose::Tell, &output));
                if told {
                    self.unlogged.remove(place);
                }
            }
        }
        rotated.map(drop).map_err(|error| failed("put aside", error))
    }
}

/// What this process writes to.
fn own_output() -> io::Result<[File; 2]> {
    let (out, err) = (rustix::io::dup(io::stdout())?, rustix::io::dup(io::stderr())?);
    Ok([out.into(), err.into()])
}
