//! The service manager that started the program, if one did and wants to hear how it is.

use std::time::{Duration, Instant};

use super::announce::say;
use crate::control::wire::EMBEDS;
use crate::sys::notify::{self, State};

/// The watchdog is not fed more often than this, whatever it asks for.
const PULSE_MIN: Duration = Duration::from_millis(1);

/// Tells a service manager, and feeds its watchdog.
#[derive(Debug)]
pub(super) struct Manager {
    tell: fn(&[State<'_>]) -> std::io::Result<bool>,
    pulse: Option<Pulse>,
    stopping: bool,
    /// It is corelane's own, and wants to hear that this program answers questions.
    corelanes: bool,
    /// Whether the last word did not get through; said once, until one does.
    unheard: bool,
}

/// When the watchdog is to be fed.
#[derive(Debug)]
struct Pulse {
    every: Duration,
    due: Instant,
}

impl Manager {
    /// The one that the environment names, perhaps none.
    pub(super) fn of_process() -> Self {
        let interval = notify::watchdog().unwrap_or_else(|error| {
            say(&format!("warning: no watchdog: {error}"));
            None
        });
        Self::new(notify::notify, interval, Instant::now())
    }

    /// Which is corelane's own.
    pub(super) fn corelanes(mut self, corelanes: bool) -> Self {
        self.corelanes = corelanes;
        self
    }

    /// It is fed at half of the interval after which it acts.
    fn new(
        tell: fn(&[State<'_>]) -> std::io::Result<bool>,
        interval: Option<Duration>,
        now: Instant,
    ) -> Self {
        let pulse =
            interval.map(|interval| Pulse { every: (interval / 2).max(PULSE_MIN), due: now });
        Self { tell, pulse, stopping: false, corelanes: false, unheard: false }
    }

    /// All clusters listen.
    pub(super) fn ready(&mut self, status: &str) {
        if self.stopping {
            return;
        }
        let ready = [State::Ready, State::Status(status), State::MainPid];
        if self.corelanes {
            self.send(&[&ready[..], &[State::Other(EMBEDS)]].concat());
        } else {
            self.send(&ready);
        }
    }

    /// The configuration is read again; [`ready`](Self::ready) says that it is over.
    pub(super) fn reloading(&mut self) {
        if self.stopping {
            return;
        }
        self.send(&[State::Reloading, State::Status("reloading")]);
    }

    /// Draining has begun. Only the first time is news.
    pub(super) fn stopping(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.send(&[State::Stopping, State::Status("draining")]);
        }
    }

    /// Something has changed; not worth a word once the end has begun.
    pub(super) fn status(&mut self, status: &str) {
        if !self.stopping {
            self.send(&[State::Status(status)]);
        }
    }

    /// Feeds the watchdog if that is due, and says how long the caller may wait until it calls
    /// again; `None` is for ever.
    pub(super) fn pulse(&mut self, now: Instant) -> Option<Duration> {
        let pulse = self.pulse.as_mut()?;
        let (every, fed) = (pulse.every, now >= pulse.due);
        if fed {
            pulse.due = now + every;
        }
        let wait = pulse.due.saturating_duration_since(now);
        if fed {
            self.send(&[State::Watchdog]);
        }
        Some(wait)
    }

    /// A manager that cannot be told is a reason to warn, not to stop serving.
    fn send(&mut self, states: &[State<'_>]) {
        let told = (self.tell)(states);
        if let (Err(error), false) = (&told, self.unheard) {
            say(&format!("warning: cannot tell the service manager: {error}"));
        }
        self.unheard = told.is_err();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;

    thread_local! {
        static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// A manager that hears everything but of what is lost.
    fn record(states: &[State<'_>]) -> io::Result<bool> {
        if states == [State::Status("lost")] {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        TOLD.with_borrow_mut(|told| told.push(format!("{states:?}")));
        Ok(true)
    }

    fn told() -> Vec<String> {
        TOLD.take()
    }

    #[test]
    fn the_end_is_told_once_and_is_the_last_word() {
        let mut manager = Manager::new(record, None, Instant::now());
        manager.ready("a");
        manager.status("b");
        manager.stopping();
        manager.stopping();
        manager.status("c");
        let expected = [
            r#"[Ready, Status("a"), MainPid]"#,
            r#"[Status("b")]"#,
            r#"[Stopping, Status("draining")]"#,
        ];
        assert_eq!(told(), expected);
    }

    #[test]
    fn one_that_cannot_be_told_is_told_again() {
        let mut manager = Manager::new(record, None, Instant::now());
        for (status, unheard) in [("lost", true), ("lost", true), ("a", false), ("lost", true)] {
            manager.status(status);
            assert_eq!(manager.unheard, unheard);
        }
        assert_eq!(told(), [r#"[Status("a")]"#]);
    }

    #[test]
    fn the_watchdog_is_fed_at_half_of_its_interval() {
        let start = Instant::now();
        let mut manager = Manager::new(record, Some(Duration::from_secs(4)), start);
        let at = |millis| start + Duration::from_millis(millis);
        for (millis, wait, fed) in
            [(0, 2000, 1), (500, 1500, 0), (1999, 1, 0), (2000, 2000, 1), (9000, 2000, 1)]
        {
            let wait = Duration::from_millis(wait);
            assert_eq!(manager.pulse(at(millis)), Some(wait), "{millis}");
            assert_eq!(told().len(), fed, "{millis}");
        }
        let mut without = Manager::new(record, None, start);
        assert_eq!(without.pulse(start), None);
        assert!(told().is_empty());
    }
}
