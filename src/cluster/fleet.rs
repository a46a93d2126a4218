//! What the supervisor decides: a state machine without threads, sockets or clock.

use std::time::{Duration, Instant};

use super::event::{Event, ExitReason, Stopped};

/// A life shorter than this was a failure to live, not an accident.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// How long the successor of such a life waits, so that a crash loop leaves the others a CPU.
const RESTART_DELAY: Duration = Duration::from_millis(100);
/// How long workers may take to end once the time to drain is up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// The workers of a cluster, and what is wanted of them.
#[derive(Debug)]
pub(super) struct Fleet {
    phase: Phase,
    workers: Vec<Worker>,
    /// How many, from the first, have been announced to listen for the first time.
    announced: usize,
    drain: Duration,
    stopped: Stopped,
    failure: Option<(usize, ExitReason)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not every worker has listened yet: one that ends now fails the start.
    Starting,
    /// A worker that ends has a successor.
    Serving,
    /// A worker that ends has none.
    Draining { until: Instant },
}

#[derive(Debug)]
struct Worker {
    cpu: usize,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Starting {
        since: Instant,
    },
    Listening {
        since: Instant,
    },
    /// Between two lives.
    Waiting {
        until: Instant,
    },
    /// For good.
    Over,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The worker accepts connections.
    Listening(usize),
    /// The worker's thread is at its end.
    Ended(usize, ExitReason),
    /// The cluster is to end.
    Drain,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start a worker, which may fail: then it has ended.
    Start(usize),
    /// Tell a worker to drain.
    Drain(usize),
    /// Every worker listens.
    Ready,
    /// Tell those who watch.
    Announce(Event),
}

impl Fleet {
    /// Workers on these CPUs, all to be started, and how long they may drain.
    pub(super) fn new(cpus: &[usize], drain: Duration, now: Instant) -> Self {
        let life = Life::Waiting { until: now };
        let workers = cpus.iter().map(|&cpu| Worker { cpu, life }).collect();
        let stopped = Stopped::default();
        Self { phase: Phase::Starting, workers, announced: 0, drain, stopped, failure: None }
    }

    /// Takes in what has happened.
    pub(super) fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match input {
            Input::Listening(worker) => self.listening(worker),
            Input::Ended(worker, reason) => self.ended(worker, reason, now),
            Input::Drain => self.drain(now),
        }
    }

    /// Does what is due by now.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let too_late = matches!(self.phase, Phase::Draining { until } if until <= now);
        for (number, worker) in self.workers.iter_mut().enumerate() {
            match worker.life {
                Life::Waiting { until } if until <= now => {
                    worker.life = Life::Starting { since: now };
                    let started = Event::Started { worker: number, cpu: worker.cpu };
                    effects.extend([Effect::Announce(started), Effect::Start(number)]);
                }
                Life::Starting { .. } | Life::Listening { .. } if too_late => {
                    worker.life = Life::Over;
                    self.stopped.abandoned.push(number);
                    effects.push(Effect::Announce(Event::Abandoned { worker: number }));
                }
                _ => {}
            }
        }
        effects
    }

    /// When `tick` has something to do next, if nothing happens before.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let restarts = self.workers.iter().filter_map(|worker| match worker.life {
            Life::Waiting { until } => Some(until),
            _ => None,
        });
        let end = match self.phase {
            Phase::Draining { until } => Some(until),
            Phase::Starting | Phase::Serving => None,
        };
        restarts.chain(end).min()
    }

    /// Whether there is nothing left to supervise.
    pub(super) fn is_over(&self) -> bool {
        let ending = matches!(self.phase, Phase::Draining { .. });
        ending && self.workers.iter().all(|worker| worker.life == Life::Over)
    }

    /// How it ended, and which worker's failure ended it before every worker had listened.
    pub(super) fn into_result(self) -> (Stopped, Option<(usize, ExitReason)>) {
        (self.stopped, self.failure)
    }

    fn listening(&mut self, number: usize) -> Vec<Effect> {
        let Life::Starting { since } = self.workers[number].life else { return Vec::new() };
        self.workers[number].life = Life::Listening { since };
        if self.phase != Phase::Starting {
            return vec![self.announce_listening(number)];
        }
        // At the first start in the order of their numbers: one start reads like another.
        let listens = |worker: &Worker| matches!(worker.life, Life::Listening { .. });
        let until = self.workers.iter().take_while(|worker| listens(worker)).count();
        let from = std::mem::replace(&mut self.announced, until);
        let mut effects: Vec<_> = (from..until).map(|n| self.announce_listening(n)).collect();
        if until == self.workers.len() {
            self.phase = Phase::Serving;
            effects.push(Effect::Ready);
        }
        effects
    }

    fn announce_listening(&self, worker: usize) -> Effect {
        Effect::Announce(Event::Listening { worker, cpu: self.workers[worker].cpu })
    }

    fn ended(&mut self, worker: usize, reason: ExitReason, now: Instant) -> Vec<Effect> {
        let since = match self.workers[worker].life {
            Life::Starting { since } | Life::Listening { since } => since,
            // Abandoned before.
            Life::Waiting { .. } | Life::Over => return Vec::new(),
        };
        let exited = Event::Exited { worker, reason: reason.clone() };
        let mut effects = vec![Effect::Announce(exited)];
        match self.phase {
            Phase::Starting => {
                self.workers[worker].life = Life::Over;
                self.failure = Some((worker, reason));
                effects.extend(self.wind_down(now));
            }
            Phase::Serving => {
                let short = now.duration_since(since) < LIFE_MIN;
                let after = if short { RESTART_DELAY } else { Duration::ZERO };
                self.workers[worker].life = Life::Waiting { until: now + after };
                effects.push(Effect::Announce(Event::Restarting { worker, reason, after }));
            }
            Phase::Draining { .. } => {
                self.workers[worker].life = Life::Over;
                if let ExitReason::Drained { cut } = reason {
                    self.stopped.cut += cut;
                }
            }
        }
        effects
    }

    fn drain(&mut self, now: Instant) -> Vec<Effect> {
        if matches!(self.phase, Phase::Draining { .. }) {
            return Vec::new();
        }
        let mut effects = vec![Effect::Announce(Event::Draining { within: self.drain })];
        effects.extend(self.wind_down(now));
        effects
    }

    fn wind_down(&mut self, now: Instant) -> Vec<Effect> {
        self.phase = Phase::Draining { until: now + self.drain + GIVE_UP_AFTER };
        let mut effects = Vec::new();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            match worker.life {
                // One that does not listen yet finds the order when it does.
                Life::Starting { .. } | Life::Listening { .. } => {
                    effects.push(Effect::Drain(number));
                }
                Life::Waiting { .. } => worker.life = Life::Over,
                Life::Over => {}
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);
    const MS: Duration = Duration::from_millis(1);

    /// A fleet with a clock that moves by hand.
    struct Script {
        fleet: Fleet,
        now: Instant,
    }

    impl Script {
        /// Two workers that have been started.
        fn started() -> Self {
            let now = Instant::now();
            let mut script = Self { fleet: Fleet::new(&[0, 1], DRAIN, now), now };
            let expected = [starts(0), starts(1)].concat();
            assert_eq!(script.after(Duration::ZERO), expected);
            script
        }

        /// Two workers that listen.
        fn serving() -> Self {
            let mut script = Self::started();
            assert_eq!(script.step(Input::Listening(1)), []);
            let all = [listens(0), listens(1), Effect::Ready];
            assert_eq!(script.step(Input::Listening(0)), all);
            assert_eq!(script.fleet.next_tick(), None);
            script
        }

        fn step(&mut self, input: Input) -> Vec<Effect> {
            self.fleet.step(input, self.now)
        }

        fn after(&mut self, time: Duration) -> Vec<Effect> {
            self.now += time;
            self.fleet.tick(self.now)
        }
    }

    fn almost(time: Duration) -> Duration {
        time.saturating_sub(MS)
    }

    fn starts(worker: usize) -> Vec<Effect> {
        let started = Event::Started { worker, cpu: worker };
        vec![Effect::Announce(started), Effect::Start(worker)]
    }

    fn listens(worker: usize) -> Effect {
        Effect::Announce(Event::Listening { worker, cpu: worker })
    }

    fn exits(worker: usize, reason: ExitReason) -> Effect {
        Effect::Announce(Event::Exited { worker, reason })
    }

    fn restarts(worker: usize, after: Duration) -> Effect {
        Effect::Announce(Event::Restarting { worker, reason: panic(), after })
    }

    fn panic() -> ExitReason {
        ExitReason::Panic { message: "boom".to_owned() }
    }

    fn drained(cut: u64) -> ExitReason {
        ExitReason::Drained { cut }
    }

    fn draining() -> Effect {
        Effect::Announce(Event::Draining { within: DRAIN })
    }

    #[test]
    fn a_worker_that_lived_has_a_successor_at_once() {
        let mut script = Script::serving();
        assert_eq!(script.after(LIFE_MIN), []);
        let effects = script.step(Input::Ended(1, panic()));
        assert_eq!(effects, [exits(1, panic()), restarts(1, Duration::ZERO)]);
        assert_eq!(script.fleet.next_tick(), Some(script.now));
        assert_eq!(script.after(Duration::ZERO), starts(1));
        assert_eq!(script.step(Input::Listening(1)), [listens(1)]);
    }

    #[test]
    fn a_short_life_delays_the_successor() {
        let mut script = Script::serving();
        script.after(almost(LIFE_MIN));
        let effects = script.step(Input::Ended(0, panic()));
        assert_eq!(effects, [exits(0, panic()), restarts(0, RESTART_DELAY)]);
        assert_eq!(script.after(almost(RESTART_DELAY)), []);
        assert_eq!(script.after(MS), starts(0));
        // One that fails before it listens is no other case.
        let effects = script.step(Input::Ended(0, panic()));
        assert_eq!(effects, [exits(0, panic()), restarts(0, RESTART_DELAY)]);
    }

    #[test]
    fn a_failure_at_first_start_ends_the_others() {
        let mut script = Script::started();
        script.step(Input::Listening(0));
        let effects = script.step(Input::Ended(1, panic()));
        assert_eq!(effects, [exits(1, panic()), Effect::Drain(0)]);
        assert!(!script.fleet.is_over());
        script.step(Input::Ended(0, drained(0)));
        assert!(script.fleet.is_over());
        assert_eq!(script.fleet.into_result(), (Stopped::default(), Some((1, panic()))));
    }

    #[test]
    fn drain_ends_when_every_worker_has() {
        let mut script = Script::serving();
        let effects = script.step(Input::Drain);
        assert_eq!(effects, [draining(), Effect::Drain(0), Effect::Drain(1)]);
        assert_eq!(script.step(Input::Drain), []);
        script.step(Input::Ended(0, drained(2)));
        // A panic while draining needs no successor.
        assert_eq!(script.step(Input::Ended(1, panic())), [exits(1, panic())]);
        assert!(script.fleet.is_over());
        let stopped = Stopped { cut: 2, abandoned: Vec::new() };
        assert_eq!(script.fleet.into_result(), (stopped, None));
    }

    #[test]
    fn drain_forgoes_a_pending_restart() {
        let mut script = Script::serving();
        script.step(Input::Ended(0, panic()));
        assert_eq!(script.step(Input::Drain), [draining(), Effect::Drain(1)]);
        assert_eq!(script.after(RESTART_DELAY), []);
        script.step(Input::Ended(1, drained(0)));
        assert!(script.fleet.is_over());
    }

    #[test]
    fn drain_reaches_a_worker_that_does_not_listen_yet() {
        let mut script = Script::serving();
        script.step(Input::Ended(0, panic()));
        script.after(RESTART_DELAY);
        let effects = script.step(Input::Drain);
        assert_eq!(effects, [draining(), Effect::Drain(0), Effect::Drain(1)]);
    }

    #[test]
    fn a_worker_that_does_not_end_is_given_up() {
        let mut script = Script::serving();
        script.step(Input::Drain);
        script.step(Input::Ended(0, drained(0)));
        assert_eq!(script.after(almost(DRAIN + GIVE_UP_AFTER)), []);
        let abandoned = Effect::Announce(Event::Abandoned { worker: 1 });
        assert_eq!(script.after(MS), [abandoned]);
        assert!(script.fleet.is_over());
        // It comes too late.
        assert_eq!(script.step(Input::Ended(1, drained(0))), []);
        let stopped = Stopped { cut: 0, abandoned: vec![1] };
        assert_eq!(script.fleet.into_result(), (stopped, None));
    }
}
