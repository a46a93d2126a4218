//! One supervised process: a state machine without a process, a clock or a signal.
//!
//! Each cell of state and event is answered by [`Process::step`], below as a table; what is to be
//! done comes back as [`Effect`]s.

use std::time::{Duration, Instant};

use crate::restart::{Budget, Restart, Verdict};
use crate::sys::child::Exit;

/// What an exit with this code means, of a program that embeds corelane: it has given itself up.
const GAVE_UP: i32 = 70;
/// How long after a KILL its end is waited for before another.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// What decides about a process.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub restart: Restart,
    /// Exit codes after which it stays down.
    pub stop_exit_codes: Vec<i32>,
    /// How long it may take to be ready.
    pub ready: Duration,
    /// How long it may take to end.
    pub stop: Duration,
}

/// A supervised process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    state: State,
    rules: Rules,
    budget: Budget,
    /// Why it is not online, or how its last life ended.
    problem: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none, and there is to be none.
    Stopped,
    /// It has been started and is not ready.
    Launching,
    /// It is ready.
    Online { since: Instant },
    /// It has been told to end.
    Stopping { then: Then },
    /// It has ended, and is started again when the time has come.
    Waiting,
    /// It has ended too often.
    Errored,
}

/// What follows the end of a process that has been told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Launch,
    /// It was not ready in time: as after any failure.
    Judge,
}

/// What has happened, or is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is to run. After an error it begins anew.
    Start,
    /// It is not to run.
    Stop,
    /// It could not be started.
    SpawnFailed(String),
    /// It says that it is ready, or has shown it.
    Ready,
    /// It has ended. `gives_up`: its exit code means what corelane's do.
    Exited { how: Exit, gives_up: bool },
    /// The time that was asked for is up.
    Timeout,
    /// It was found running, as a manager before had left it.
    Adopted(Found),
}

/// How a manager before had left a process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Launching,
    /// It has run for so long.
    Online {
        age: Duration,
    },
    /// Told to end, to be started again or not.
    Stopping {
        again: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start it; say if that fails.
    Spawn,
    /// Tell it to end.
    Terminate,
    /// End it and all that it has started.
    Kill,
    /// Say so when this time is up, and forget any time asked for before.
    Arm(Duration),
    /// No time matters any more.
    Disarm,
    /// It is started again although nobody asked for that: count it.
    Restarted,
}

impl Process {
    /// One that does not run.
    pub(super) fn new(rules: Rules) -> Self {
        let budget = Budget::new(rules.restart.clone());
        Self { state: State::Stopped, rules, budget, problem: None }
    }

    /// One that a manager before has seen end too often, for this reason.
    pub(super) fn errored(rules: Rules, problem: String) -> Self {
        Self { state: State::Errored, problem: Some(problem), ..Self::new(rules) }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// Whether there is a process.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, State::Launching | State::Online { .. } | State::Stopping { .. })
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    #[expect(clippy::match_same_arms, reason = "a table is read by its rows")]
    /// Takes in an event. `random` is any number, evenly distributed.
    pub(super) fn step(&mut self, event: Event, now: Instant, random: u32) -> Vec<Effect> {
        use State::{Errored, Launching, Online, Stopped, Stopping, Waiting};
        match (self.state, event) {
            (Stopped | Waiting, Event::Start) => self.launch(),
            (Errored, Event::Start) => {
                self.forgive();
                self.launch()
            }
            (Launching | Online { .. }, Event::Start) => Vec::new(),
            (Stopping { then }, Event::Start) => {
                // After a failed launch that is what may follow anyway.
                let then = if then == Then::Judge { Then::Judge } else { Then::Launch };
                self.become_state(Stopping { then }, Vec::new())
            }
            (Stopped, Event::Stop) => Vec::new(),
            (Waiting | Errored, Event::Stop) => {
                // As from an error, it begins anew when it is wanted again.
                self.forgive();
                self.problem = None;
                self.become_state(Stopped, vec![Effect::Disarm])
            }
            (Launching | Online { .. }, Event::Stop) => {
                let effects = vec![Effect::Terminate, Effect::Arm(self.rules.stop)];
                self.become_state(Stopping { then: Then::Stay }, effects)
            }
            (Stopping { .. }, Event::Stop) => {
                self.become_state(Stopping { then: Then::Stay }, Vec::new())
            }
            (Launching, Event::Ready) => {
                self.problem = None;
                self.become_state(Online { since: now }, vec![Effect::Disarm])
            }
            (Launching, Event::SpawnFailed(problem)) => self.judge(problem, true, now, random),
            (Launching | Online { .. }, Event::Exited { how, gives_up }) => {
                self.ended(how, gives_up, now, random)
            }
            (Stopping { then: Then::Judge }, Event::Exited { .. }) => {
                let problem = self.problem.take().unwrap_or_default();
                self.judge(problem, true, now, random)
            }
            (Stopping { then: Then::Launch }, Event::Exited { .. }) => self.launch(),
            (Stopping { then: Then::Stay }, Event::Exited { .. }) => {
                self.problem = None;
                self.become_state(Stopped, vec![Effect::Disarm])
            }
            (Launching, Event::Timeout) => {
                self.problem = Some(format!("not ready within {:?}", self.rules.ready));
                let effects = vec![Effect::Kill, Effect::Arm(KILL_AGAIN)];
                self.become_state(Stopping { then: Then::Judge }, effects)
            }
            (Stopping { .. }, Event::Timeout) => vec![Effect::Kill, Effect::Arm(KILL_AGAIN)],
            (Waiting, Event::Timeout) => {
                let mut effects = self.launch();
                effects.insert(0, Effect::Restarted);
                effects
            }
            (Stopped, Event::Adopted(found)) => self.adopt(found, now),
            // What comes too late, or is said twice.
            (_, Event::Ready | Event::Timeout | Event::SpawnFailed(_) | Event::Adopted(_))
            | (Stopped | Waiting | Errored, Event::Exited { .. }) => Vec::new(),
        }
    }

    fn become_state(&mut self, state: State, effects: Vec<Effect>) -> Vec<Effect> {
        self.state = state;
        effects
    }

    /// Its ends so far do not count any more.
    fn forgive(&mut self) {
        self.budget = Budget::new(self.rules.restart.clone());
    }

    fn launch(&mut self) -> Vec<Effect> {
        let effects = vec![Effect::Arm(self.rules.ready), Effect::Spawn];
        self.become_state(State::Launching, effects)
    }

    /// It has ended, and nobody had told it to.
    fn ended(&mut self, how: Exit, gives_up: bool, now: Instant, random: u32) -> Vec<Effect> {
        let problem = how.to_string();
        match how {
            Exit::Code(GAVE_UP) if gives_up => {
                self.problem = Some(format!("{problem}: it has given itself up"));
                self.become_state(State::Errored, vec![Effect::Disarm])
            }
            Exit::Code(code) if self.rules.stop_exit_codes.contains(&code) => {
                self.problem = Some(problem);
                self.become_state(State::Stopped, vec![Effect::Disarm])
            }
            how => self.judge(problem, how.is_failure(), now, random),
        }
    }

    /// It has ended: it is started again, if there is anything left of its budget.
    fn judge(&mut self, problem: String, failed: bool, now: Instant, random: u32) -> Vec<Effect> {
        let lived = match self.state {
            State::Online { since } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        match self.budget.ended(lived, failed, now, random) {
            Verdict::RestartAfter(Duration::ZERO) => {
                self.problem = Some(problem);
                let mut effects = self.launch();
                effects.insert(0, Effect::Restarted);
                effects
            }
            Verdict::RestartAfter(wait) => {
                self.problem = Some(problem);
                self.become_state(State::Waiting, vec![Effect::Arm(wait)])
            }
            Verdict::Exhausted { restarts, within } => {
                let times = format!("restarted {restarts} times within {within:?}, no more");
                self.problem = Some(format!("{problem}; {times}"));
                self.become_state(State::Errored, vec![Effect::Disarm])
            }
            Verdict::Stay => {
                self.problem = failed.then_some(problem);
                self.become_state(State::Stopped, vec![Effect::Disarm])
            }
        }
    }

    fn adopt(&mut self, found: Found, now: Instant) -> Vec<Effect> {
        match found {
            Found::Launching => {
                self.become_state(State::Launching, vec![Effect::Arm(self.rules.ready)])
            }
            Found::Online { age } => {
                let since = now.checked_sub(age).unwrap_or(now);
                self.become_state(State::Online { since }, Vec::new())
            }
            Found::Stopping { again } => {
                let then = if again { Then::Launch } else { Then::Stay };
                self.become_state(State::Stopping { then }, vec![Effect::Arm(self.rules.stop)])
            }
        }
    }
}

#[cfg(test)]
mod tests;
