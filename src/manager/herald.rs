//! What a service manager, such as systemd, hears of the manager. Without one nobody is told.

use std::time::{Duration, Instant};

use super::ground::Ground;
use crate::sys::notify::{self, State};

/// How often more time is asked for until the apps are up, and how much.
const BEGIN_EVERY: Duration = Duration::from_secs(10);
const BEGIN_MORE: Duration = Duration::from_secs(60);
/// Never, as far as anybody waits for it.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Tells it, from the manager's thread: what is said proves that this thread is not stuck.
#[derive(Debug)]
pub(super) struct Herald {
    heard: bool,
    /// How often it wants to hear that the manager is alive.
    every: Option<Duration>,
    due: Instant,
    ready: bool,
    status: String,
    failed: bool,
}

impl Herald {
    /// A manager's own; for what has no home somebody else speaks.
    pub(super) fn of(ground: &Ground, now: Instant) -> Self {
        let heard = ground.home().is_some();
        // A value that says nothing was said to nobody.
        let every = notify::watchdog().ok().flatten().filter(|_| heard);
        let every = every.map(|interval| interval / 2);
        Self { heard, every, due: now, ready: !heard, status: String::new(), failed: false }
    }

    /// When the next message is due.
    pub(super) fn due(&self) -> Instant {
        if self.ready && self.every.is_none() { self.due + NEVER } else { self.due }
    }

    /// Says that the manager is alive, if it is time to. Until it is ready it also asks for more
    /// time: apps may take long, and one after another.
    pub(super) fn beat(&mut self, now: Instant) {
        if self.due() > now {
            return;
        }
        let pause = self.every.unwrap_or(BEGIN_EVERY);
        self.due = now + if self.ready { pause } else { pause.min(BEGIN_EVERY) };
        let alive = self.every.is_some().then_some(State::Watchdog);
        let begins = (!self.ready).then_some(State::Extend(BEGIN_MORE));
        let states: Vec<_> = alive.into_iter().chain(begins).collect();
        self.tell(&states);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The apps are up, or have failed.
    pub(super) fn ready(&mut self) {
        self.ready = true;
        let status = self.status.clone();
        self.tell(&[State::Ready, State::MainPid, State::Status(&status)]);
    }

    /// How the apps are, in a line.
    pub(super) fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.tell(&[State::Status(status)]);
        }
    }

    /// The manager ends.
    pub(super) fn stopping(&mut self) {
        self.tell(&[State::Stopping]);
    }

    /// Another version takes this one's place, and says when it is ready.
    pub(super) fn reloading(&mut self) {
        self.tell(&[State::Reloading]);
    }

    fn tell(&mut self, states: &[State<'_>]) {
        if self.heard
            && let Err(error) = notify::notify(states)
            && !std::mem::replace(&mut self.failed, true)
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}
