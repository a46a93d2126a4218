//! Golden scripts: what happens to a process, and what is done about it, in few words.

use std::fmt::Write as _;

use super::*;

const STOP: Duration = Duration::from_secs(35);
const READY: Duration = Duration::from_secs(30);

fn rules() -> Rules {
    let restart = Restart::default();
    Rules { restart, stop_exit_codes: vec![7], ready: READY, stop: STOP }
}

/// A process with a clock that moves by hand.
struct Script {
    process: Process,
    now: Instant,
}

impl Script {
    fn new() -> Self {
        Self { process: Process::new(rules()), now: Instant::now() }
    }

    fn online() -> Self {
        let mut script = Self::new();
        script.step(Event::Start);
        script.step(Event::Ready);
        script
    }

    /// The new state, and what is to be done.
    fn step(&mut self, event: Event) -> String {
        let effects = self.process.step(event, self.now, 0);
        let mut text = match self.process.state() {
            State::Online { .. } => "Online".to_owned(),
            state => format!("{state:?}"),
        };
        for effect in effects {
            write!(text, " {effect:?}").unwrap();
        }
        text
    }

    fn exits(&mut self, code: i32) -> String {
        self.step(Event::Exited { how: Exit::Code(code), gives_up: false })
    }
}

/// State, event, and what comes of it.
const TABLE: &str = "\
Stopped Start: Launching Arm(30s) Spawn
Stopped Stop: Stopped
Stopped SpawnFailed: Stopped
Stopped Ready: Stopped
Stopped Exited: Stopped
Stopped Timeout: Stopped
Stopped Adopted: Online
Launching Start: Launching
Launching Stop: Stopping { then: Stay } Terminate Arm(35s)
Launching SpawnFailed: Launching Restarted Arm(30s) Spawn
Launching Ready: Online Disarm
Launching Exited: Launching Restarted Arm(30s) Spawn
Launching Timeout: Stopping { then: Judge } Kill Arm(5s)
Launching Adopted: Launching
Online Start: Online
Online Stop: Stopping { then: Stay } Terminate Arm(35s)
Online SpawnFailed: Online
Online Ready: Online
Online Exited: Launching Restarted Arm(30s) Spawn
Online Timeout: Online
Online Adopted: Online
Stopping Start: Stopping { then: Launch }
Stopping Stop: Stopping { then: Stay }
Stopping SpawnFailed: Stopping { then: Stay }
Stopping Ready: Stopping { then: Stay }
Stopping Exited: Stopped Disarm
Stopping Timeout: Stopping { then: Stay } Kill Arm(5s)
Stopping Adopted: Stopping { then: Stay }
Waiting Start: Launching Arm(30s) Spawn
Waiting Stop: Stopped Disarm
Waiting SpawnFailed: Waiting
Waiting Ready: Waiting
Waiting Exited: Waiting
Waiting Timeout: Launching Restarted Arm(30s) Spawn
Waiting Adopted: Waiting
Errored Start: Launching Arm(30s) Spawn
Errored Stop: Stopped Disarm
Errored SpawnFailed: Errored
Errored Ready: Errored
Errored Exited: Errored
Errored Timeout: Errored
Errored Adopted: Errored
";
#[test]
fn every_cell_is_answered() {
    let states: [(&str, &[Event]); 6] = [
        ("Stopped", &[]),
        ("Launching", &[Event::Start]),
        ("Online", &[Event::Start, Event::Ready]),
        ("Stopping", &[Event::Start, Event::Stop]),
        ("Waiting", &[]),
        ("Errored", &[]),
    ];
    let events = [
        Event::Start,
        Event::Stop,
        Event::SpawnFailed("no".to_owned()),
        Event::Ready,
        Event::Exited { how: Exit::Code(1), gives_up: false },
        Event::Timeout,
        Event::Adopted(Found::Online { age: Duration::ZERO }),
    ];
    let mut table = String::new();
    for (name, before) in states {
        for event in &events {
            let mut script = Script::new();
            for event in before {
                script.step(event.clone());
            }
            match name {
                "Waiting" => {
                    script.step(Event::Start);
                    (0..4).for_each(|_| drop(script.exits(1)));
                }
                "Errored" => {
                    script.step(Event::Start);
                    script.step(Event::Exited { how: Exit::Code(70), gives_up: true });
                }
                _ => {}
            }
            let event_name = format!("{event:?}");
            let event_name = event_name.split([' ', '(']).next().unwrap();
            writeln!(table, "{name} {event_name}: {}", script.step(event.clone())).unwrap();
        }
    }
    assert_eq!(table, TABLE);
}

#[test]
fn a_crash_loop_ends_in_errored_also_after_an_hour_of_health() {
    for health in [Duration::ZERO, Duration::from_secs(3600)] {
        let mut script = Script::online();
        script.now += health;
        let begun = script.now;
        let mut crashes = 0;
        while script.process.state() != State::Errored {
            if script.process.state() == State::Waiting {
                script.now += Duration::from_secs(2);
                script.step(Event::Timeout);
            } else {
                crashes += 1;
                script.exits(1);
            }
        }
        assert_eq!(crashes, 17, "after {health:?}");
        assert!(script.now - begun < Duration::from_secs(60));
        let problem = script.process.problem().unwrap();
        assert_eq!(problem, "exited with code 1; restarted 16 times within 60s, no more");
    }
}

#[test]
fn exit_codes_say_what_follows() {
    assert_eq!(Script::online().exits(7), "Stopped Disarm");
    assert!(Script::online().exits(0).starts_with("Launching"));
    let mut script = Script::online();
    let gave_up = Event::Exited { how: Exit::Code(70), gives_up: true };
    assert_eq!(script.step(gave_up), "Errored Disarm");
    assert!(script.process.problem().unwrap().contains("given itself up"));
    assert!(Script::online().exits(70).starts_with("Launching"), "of another program it is a code");
}

#[test]
fn one_that_is_not_ready_in_time_is_killed_and_counts_as_failed() {
    let mut script = Script::new();
    script.step(Event::Start);
    script.step(Event::Timeout);
    assert_eq!(script.process.problem(), Some("not ready within 30s"));
    let killed = Event::Exited { how: Exit::Signal(9), gives_up: false };
    assert_eq!(script.step(killed), "Launching Restarted Arm(30s) Spawn");
    assert_eq!(script.process.problem(), Some("not ready within 30s"));
}

#[test]
fn a_restart_is_a_stop_after_which_it_is_launched() {
    let mut script = Script::online();
    script.step(Event::Stop);
    assert_eq!(script.step(Event::Start), "Stopping { then: Launch }");
    assert_eq!(script.exits(1), "Launching Arm(30s) Spawn", "nobody counts it as a failure");
}

#[test]
fn what_a_manager_before_had_begun_is_gone_on_with() {
    let mut script = Script::new();
    let found = Event::Adopted(Found::Stopping { again: true });
    assert_eq!(script.step(found), "Stopping { then: Launch } Arm(35s)");
    let mut script = Script::new();
    assert_eq!(script.step(Event::Adopted(Found::Launching)), "Launching Arm(30s)");
}
