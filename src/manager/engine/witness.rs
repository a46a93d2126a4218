//! What whoever an engine runs for hears of it: what happens to processes, and how it all ends.

use super::super::app::{App, Role};
use super::super::news::{News, code_of};
use super::super::process::{State, Then};
use super::{Engine, Place};
use crate::control::Status;
use crate::sys::child::Exit;

impl Engine {
    /// Says something of a process.
    pub(super) fn tell(&self, place: Place, words: &str) {
        let Some(witness) = &self.witness else { return };
        let name = self.apps.get(&place.0).map_or("", |app| app.spec().name.as_str());
        let pid = self.lives.get(&place).map(|life| life.child().pid());
        let pid = pid.map_or_else(String::new, |pid| format!("pid {pid}: "));
        witness(News::Said(format!("[{name}] {pid}{words}")));
    }

    /// Says of an app what its operator should know.
    pub(super) fn warn(&self, app: &App, words: &str) {
        let name = &app.spec().name;
        tracing::warn!("{name}: {words}");
        if let Some(witness) = &self.witness {
            witness(News::Said(format!("[{name}] {words}")));
        }
    }

    /// A process has ended, or could not be started: what follows is known by now.
    pub(super) fn tell_end(&mut self, pid: Option<u32>, place: Place, how: &str, exit: Exit) {
        self.ends.insert(place, exit);
        let Some(slot) = self.apps.get(&place.0).and_then(|app| app.slot(place.1)) else {
            return self.tell_of(pid, place, how);
        };
        let words = match slot.process.state() {
            State::Launching | State::Waiting => format!("{how}; restarting"),
            State::Errored => slot.process.problem().unwrap_or(how).to_owned(),
            State::Stopped | State::Stopping { .. } | State::Online { .. } => how.to_owned(),
        };
        self.tell_of(pid, place, &words);
    }

    /// As [`tell`](Self::tell), of a process that is gone.
    fn tell_of(&self, pid: Option<u32>, place: Place, words: &str) {
        match pid {
            Some(pid) => self.tell(place, &format!("pid {pid}: {words}")),
            None => self.tell(place, words),
        }
    }

    /// A process is killed: nobody else says why.
    pub(super) fn tell_kill(&self, place: Place) {
        let Some(slot) = self.apps.get(&place.0).and_then(|app| app.slot(place.1)) else { return };
        match (slot.process.state(), slot.process.problem()) {
            (State::Stopping { then: Then::Judge }, Some(problem)) => {
                self.tell(place, &format!("{problem}, killed"));
            }
            _ => self.tell(place, "does not end, killed"),
        }
    }

    /// Says so when there is nothing left to do, or an app has been given up; each once.
    pub(super) fn tell_outcome(&mut self) {
        let Some(witness) = &self.witness else { return };
        let busy = !self.waiters.is_empty() || !self.held.is_empty();
        if busy || self.killing.is_some() {
            return;
        }
        let errored = self.apps.values().find(|app| app.status() == Status::Errored);
        let ended = |app: &App| app.status() == Status::Stopped && app.is_idle();
        let over = !self.apps.is_empty() && self.apps.values().all(ended);
        let told = std::mem::replace(&mut self.told, errored.is_some() || over);
        if told {
            return;
        }
        if let Some(app) = errored {
            let (app, problem) = (app.spec().name.clone(), app.problem().unwrap_or_default());
            witness(News::Errored { app, problem });
        } else if over {
            witness(News::AllEnded { code: self.code() });
        }
    }

    /// What the first app that failed has exited with.
    fn code(&self) -> u8 {
        let slots = self.apps.iter().flat_map(|(id, app)| {
            let serving = app.slots().iter().filter(|slot| slot.role == Role::Serving);
            serving.map(|slot| (*id, slot.key))
        });
        let mut ends = slots.filter_map(|place| self.ends.get(&place));
        ends.find(|exit| exit.is_failure()).map_or(0, |exit| code_of(*exit))
    }
}
