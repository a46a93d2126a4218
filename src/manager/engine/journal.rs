//! What is written down, before anybody is answered, and what can be: a change that could not be
//! written down is not begun.

use std::fs;
use std::time::{Duration, Instant};

use super::super::app::App;
use super::super::daemon::DaemonError;
use super::{End, Engine};
use crate::cluster::{Instances, StartError};
use crate::control::{Spec, Verb};

/// What a process takes in the state, with some to spare.
const PROCESS_BYTES: usize = 256;
/// How long it may take to remove a home.
const REMOVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// Writes down what has changed. What cannot be written is tried again at the next change, and
    /// every few seconds.
    pub(super) fn remember(&mut self) {
        if !self.changed {
            return;
        }
        self.changed = false;
        // Without a home nobody comes who would want to know.
        if self.ground.home().is_none() {
            return;
        }
        let memory = self.memory();
        match self.ground.keep(memory) {
            Ok(()) => drop(self.problems.remove("state")),
            Err(problem) => {
                if self.problems.insert("state", problem.clone()).is_none() {
                    tracing::error!("{problem}");
                }
            }
        }
    }

    /// Something was removed from the home: what is missing is made anew when whoever removes it
    /// has done so.
    pub(super) fn heed_removal(&mut self) {
        if self.ground.is_lost() {
            self.tick = self.tick.min(Instant::now() + REMOVAL);
        }
    }

    /// Whether the home is still there.
    pub(super) fn look_at_home(&mut self) {
        if self.ground.is_lost() {
            self.end.get_or_insert(End::Homeless);
        }
    }

    /// Makes the home anew and has somebody `serve` in it again, if that can be done now. What runs
    /// is written down there.
    ///
    /// # Errors
    /// Another manager has taken the home.
    pub(in crate::manager) fn settle_down<T>(
        &mut self,
        serve: impl FnOnce() -> Result<T, StartError>,
    ) -> Result<Option<T>, DaemonError> {
        self.end = None;
        self.changed = true;
        let served = self.ground.renew().and_then(|()| Ok(serve()?));
        match served {
            Ok(served) => {
                self.problems.remove("home");
                tracing::warn!("{} was removed, and is made anew", self.ground.mark());
                Ok(Some(served))
            }
            Err(error @ DaemonError::Running { .. }) => Err(error),
            Err(error) => {
                // It is tried again every few seconds.
                self.look_soon();
                self.problems.insert("home", error.to_string());
                Ok(None)
            }
        }
    }

    /// Whether what is asked for can be written down, if it is to be.
    pub(super) fn may_change(&self, verb: &Verb) -> Result<(), String> {
        let more = match verb {
            Verb::Ping
            | Verb::Flush { .. }
            | Verb::Save
            | Verb::Upgrade
            | Verb::Apply { dry: true, .. } => return Ok(()),
            Verb::Apply { specs, .. } => specs.iter().map(|spec| self.bytes_of_change(spec)).sum(),
            Verb::Resurrect => {
                let saved = self.ground.home().and_then(|home| fs::metadata(home.saved()).ok());
                saved.map_or(0, |saved| usize::try_from(saved.len()).unwrap_or(usize::MAX))
            }
            Verb::Scale { instances, .. } => {
                let more: usize = instances.parse().unwrap_or(self.cpus);
                more.saturating_mul(PROCESS_BYTES * self.apps.len())
            }
            _ => 0,
        };
        let most: usize = self.apps.values().map(|app| self.bytes(app)).sum();
        self.ground.make_room(most.saturating_add(more)).map_err(|error| {
            format!(
                "nothing was changed, for it could not be written down: {error}; \
                 hint: make room, or see that it can be written there"
            )
        })
    }

    /// The most that an app takes in the state.
    fn bytes(&self, app: &App) -> usize {
        let processes = app.slots().len() + self.processes(app.spec());
        bytes_of(app.spec()).saturating_add(PROCESS_BYTES.saturating_mul(processes))
    }

    /// What more it may take while an app is made another: each process says what it is one of.
    fn bytes_of_change(&self, spec: &Spec) -> usize {
        let present = self.apps.values().find(|app| app.spec().name == spec.name);
        let present = present.map_or(0, |app| {
            bytes_of(app.spec()).saturating_mul(app.slots().len() + self.processes(app.spec()))
        });
        let new = bytes_of(spec) + PROCESS_BYTES;
        present.saturating_add(new.saturating_mul(1 + self.processes(spec)))
    }

    fn processes(&self, spec: &Spec) -> usize {
        spec.instances.parse().map_or(1, |all: Instances| all.resolve(self.cpus))
    }
}

/// What a description takes.
fn bytes_of(spec: &Spec) -> usize {
    serde_json::to_vec(spec).map_or(0, |text| text.len()) + PROCESS_BYTES
}
