//! Golden scripts: what happens, and what the fleet wants done about it, in few words.

use std::fmt::Write as _;

use super::change::READY_MAX;
use super::drain::{GIVE_UP_AFTER, RELEASE_AFTER};
use super::*;

const DRAIN: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// A fleet with a clock that moves by hand. Lives are named by their numbers, from 1.
struct Script {
    fleet: Fleet,
    now: Instant,
}

/// One address with so many sockets.
fn sockets(count: u32) -> Vec<Vec<SocketId>> {
    vec![(0..count).map(|index| SocketId { group: 0, index }).collect()]
}

impl Script {
    /// So many workers, over so many sockets, that have been started.
    fn started(workers: usize, count: u32) -> Self {
        let now = Instant::now();
        let rules = Rules { drain: DRAIN, restart: Restart::default() };
        let cpus: Vec<_> = (0..workers).collect();
        let mut script = Self { fleet: Fleet::new(&cpus, sockets(count), rules, 1, now), now };
        script.after(Duration::ZERO);
        script
    }

    /// So many workers that listen: lives 1, 2, ...
    fn serving(workers: usize, count: u32) -> Self {
        let mut script = Self::started(workers, count);
        for life in 1..=workers as u64 {
            script.step(Input::Listening(LifeId(life)));
        }
        script
    }

    fn step(&mut self, input: Input) -> String {
        let effects = self.fleet.step(input, self.now);
        words(&effects)
    }

    fn after(&mut self, time: Duration) -> String {
        self.now += time;
        let effects = self.fleet.tick(self.now);
        words(&effects)
    }

    fn listens(&mut self, life: u64) -> String {
        self.step(Input::Listening(LifeId(life)))
    }

    fn panics(&mut self, life: u64) -> String {
        let (message, location) = ("boom".to_owned(), None);
        self.step(Input::Ended(LifeId(life), ExitReason::Panic { message, location }))
    }

    fn drained(&mut self, life: u64, cut: u64) -> String {
        self.step(Input::Ended(LifeId(life), ExitReason::Drained { cut }))
    }

    fn settles(&mut self, life: u64, order: u64) -> String {
        self.step(Input::Settled(LifeId(life), order))
    }

    fn stalls(&mut self, life: u64) -> String {
        let stall = Stall { route: Some("/stall".to_owned()), busy: Duration::from_secs(5) };
        self.step(Input::Stalled(LifeId(life), stall))
    }

    fn scales(&mut self, workers: usize) -> String {
        let target = Target { ticket: 9, cpus: (0..workers).collect(), renewal: None };
        self.step(Input::Change(target))
    }

    fn renews(&mut self, workers: usize, count: u32) -> String {
        let cpus = (0..workers).collect();
        let rules = self.fleet.rules.clone();
        let renewal = Some(Renewal { groups: sockets(count), rules });
        self.step(Input::Change(Target { ticket: 9, cpus, renewal }))
    }

    fn decides(&mut self, go: bool) -> String {
        self.step(Input::Decide(9, go))
    }
}

/// Effects in words, one a line.
fn words(effects: &[Effect]) -> String {
    let mut text = String::new();
    for effect in effects {
        match effect {
            Effect::Start(Birth { id, worker, stakes, prepared, .. }) => {
                let with = if *prepared { " prepared" } else { "" };
                write!(text, "start {} as {worker}{with}: {}", id.0, stakes_in_words(stakes))
            }
            Effect::Tell(id, Task::Listen(order, stakes)) => {
                write!(text, "tell {} (order {order}): {}", id.0, stakes_in_words(stakes))
            }
            Effect::Tell(id, task) => write!(text, "tell {}: {task:?}", id.0),
            Effect::Lower(id) => write!(text, "lower {}", id.0),
            Effect::Raise(id) => write!(text, "raise {}", id.0),
            Effect::Release(id) => write!(text, "release {}", id.0),
            Effect::Peers(ids) => {
                write!(text, "peers {:?}", ids.iter().map(|id| id.0).collect::<Vec<_>>())
            }
            Effect::Announce(event) => write!(text, "say {}", event_in_words(event)),
            Effect::Reply(_, answer) => write!(text, "reply {answer:?}"),
            other => write!(text, "{other:?}"),
        }
        .unwrap();
        text.push('\n');
    }
    text
}

fn stakes_in_words(stakes: &[Stake]) -> String {
    let word = |stake: &Stake| {
        let how = if stake.arming == Arming::Watch { "~" } else { "" };
        let again = if stake.rearm { "!" } else { "" };
        format!("{how}{}{again}", stake.socket.index)
    };
    stakes.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn event_in_words(event: &Event) -> String {
    match event {
        Event::Started { worker, .. } => format!("{worker} started"),
        Event::Listening { worker, .. } => format!("{worker} listening"),
        Event::Exited { worker, reason } => format!("{worker} exited: {reason}"),
        Event::Restarting { worker, after, .. } => format!("{worker} restarting after {after:?}"),
        Event::Stalled { worker, stall } => format!("{worker} {stall}"),
        Event::Errored { worker, restarts, .. } => format!("{worker} errored: {restarts}"),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(what: &str, lines: &[&str]) {
    assert_eq!(what.lines().collect::<Vec<_>>(), lines);
}

fn almost(time: Duration) -> Duration {
    time.saturating_sub(MS)
}

#[test]
fn the_first_start_is_announced_in_order_and_is_over_when_all_listen() {
    let mut script = Script::started(2, 2);
    check(&script.listens(2), &[]);
    let all = ["say 0 listening", "say 1 listening", "peers [1, 2]", "Ready"];
    check(&script.listens(1), &all);
    assert_eq!(script.fleet.next_tick(), None);
}

#[test]
fn a_worker_that_ends_has_a_successor_at_once_on_the_same_sockets() {
    let mut script = Script::serving(2, 4);
    let lines = ["say 1 exited: panic: boom", "say 1 restarting after 0ns", "peers [1]"];
    check(&script.panics(2), &lines);
    assert_eq!(script.fleet.next_tick(), Some(script.now));
    check(&script.after(Duration::ZERO), &["say 1 started", "start 3 as 1: 1 3"]);
    check(&script.listens(3), &["say 1 listening", "peers [1, 3]"]);
}

#[test]
fn those_who_share_a_socket_with_one_that_ended_arm_anew() {
    let mut script = Script::serving(3, 2);
    let lines = [
        "say 0 exited: panic: boom",
        "say 0 restarting after 0ns",
        "tell 3 (order 1): 0!",
        "peers [2, 3]",
    ];
    check(&script.panics(1), &lines);
}

/// Worker 1 listens for `lived`, then panics, and so on. Returns after how many panics and after
/// how long it was given up.
fn crash_loop(script: &mut Script, lived: Duration, first: u64) -> (u64, Duration) {
    let begun = script.now;
    for life in first.. {
        script.listens(life);
        script.after(lived);
        if script.panics(life).contains("errored") {
            return (life - first + 1, script.now - begun);
        }
        let until = script.fleet.next_tick().unwrap();
        let wait = until.duration_since(script.now);
        assert!(script.after(wait).contains("start "), "{wait:?}");
    }
    unreachable!()
}

#[test]
fn a_crash_loop_ends_the_cluster_also_after_an_hour_of_health() {
    for health in [Duration::ZERO, Duration::from_secs(3600)] {
        let mut script = Script::serving(2, 2);
        script.after(health);
        let (crashes, took) = crash_loop(&mut script, MS, 2);
        assert_eq!(crashes, 17);
        assert!(took > Duration::from_secs(15) && took < Duration::from_secs(60), "{took:?}");
        assert!(!script.fleet.is_over());
        script.drained(1, 0);
        assert!(script.fleet.is_over());
        let (stopped, unstarted) = script.fleet.into_result();
        assert!(matches!(stopped.failure, Some(Failure::Errored { worker: 1, .. })));
        assert_eq!(unstarted, None);
    }
}

#[test]
fn a_failure_at_first_start_ends_the_others() {
    let mut script = Script::started(2, 2);
    script.listens(1);
    check(&script.panics(2), &["say 1 exited: panic: boom", "tell 1: Drain"]);
    assert!(!script.fleet.is_over());
    script.drained(1, 0);
    assert!(script.fleet.is_over());
    assert!(matches!(script.fleet.into_result().1, Some((1, ExitReason::Panic { .. }))));
}

#[test]
fn drain_ends_when_every_worker_has() {
    let mut script = Script::serving(2, 2);
    let said = "say Draining { within: 30s }";
    check(&script.step(Input::Drain), &[said, "tell 1: Drain", "tell 2: Drain"]);
    check(&script.step(Input::Drain), &[]);
    check(&script.settles(1, LEFT), &[]);
    script.drained(1, 2);
    // A panic while draining needs no successor.
    check(&script.panics(2), &["Close", "say Closed", "say 1 exited: panic: boom"]);
    assert!(script.fleet.is_over());
    let stopped = script.fleet.into_result().0;
    assert_eq!((stopped.cut, stopped.abandoned, stopped.failure), (2, vec![], None));
}

#[test]
fn drain_forgoes_a_pending_restart_and_reaches_one_that_does_not_listen_yet() {
    let mut script = Script::serving(3, 3);
    script.panics(1);
    script.after(Duration::ZERO);
    script.panics(2);
    let said = "say Draining { within: 30s }";
    check(&script.step(Input::Drain), &[said, "tell 4: Drain", "tell 3: Drain"]);
    check(&script.after(MS), &[]);
    script.drained(3, 0);
    script.drained(4, 0);
    assert!(script.fleet.is_over());
}

#[test]
fn a_worker_that_does_not_end_is_released_and_then_given_up() {
    let mut script = Script::serving(2, 2);
    script.step(Input::Drain);
    script.drained(1, 0);
    check(&script.after(almost(DRAIN + RELEASE_AFTER)), &[]);
    check(&script.after(MS), &["release 2"]);
    check(&script.after(almost(GIVE_UP_AFTER.saturating_sub(RELEASE_AFTER))), &[]);
    check(&script.after(MS), &["say Abandoned { worker: 1 }"]);
    assert!(script.fleet.is_over());
    // It comes too late.
    check(&script.drained(2, 0), &["Close", "say Closed"]);
    assert_eq!(script.fleet.into_result().0.abandoned, [1]);
}

#[test]
fn who_shares_its_sockets_with_another_process_watches_until_that_is_gone() {
    let now = Instant::now();
    let rules = Rules { drain: DRAIN, restart: Restart::default() };
    let fleet = Fleet::new(&[0, 1], sockets(2), rules, 1, now).sharing(true);
    let mut script = Script { fleet, now };
    let lines = ["say 0 started", "start 1 as 0: ~0", "say 1 started", "start 2 as 1: ~1"];
    check(&script.after(Duration::ZERO), &lines);
    script.listens(1);
    script.listens(2);
    let lines = ["tell 1 (order 1): 0!", "tell 2 (order 2): 1!"];
    check(&script.step(Input::Alone), &lines);
    script.panics(2);
    check(&script.after(Duration::ZERO), &["say 1 started", "start 3 as 1: 1"]);
}

#[test]
fn a_successor_of_a_stuck_worker_watches_until_that_is_gone() {
    let mut script = Script::serving(2, 2);
    let lines = [
        "say 1 stalled for 5s in /stall",
        "lower 2",
        "tell 2: Retire",
        "say 1 started",
        "start 3 as 1: ~1",
        "peers [1]",
    ];
    check(&script.stalls(2), &lines);
    script.listens(3);
    check(&script.after(almost(DRAIN)), &[]);
    check(&script.after(MS), &["release 2"]);
    check(&script.after(10 * DRAIN), &[]);
    // It comes back after all: it has given up its sockets before it ends.
    check(&script.step(Input::Moved(LifeId(2))), &["raise 2", "say Recovered { worker: 1 }"]);
    check(&script.settles(2, LEFT), &["tell 3 (order 1): 1!"]);
    check(&script.drained(2, 0), &["say 1 exited: drained"]);
    assert_eq!(script.fleet.next_tick(), None);
}

#[test]
fn those_who_share_with_a_stuck_worker_watch_too() {
    let mut script = Script::serving(3, 2);
    let effects = script.stalls(3);
    assert!(effects.contains("start 4 as 2: ~0\n"), "{effects}");
    assert!(effects.contains("tell 1 (order 1): ~0!\n"), "{effects}");
    assert!(!effects.contains("tell 2 "), "{effects}");
    // A panic of the stuck one frees the socket as well.
    let effects = script.panics(3);
    assert!(effects.contains("tell 1 (order 2): 0!\n"), "{effects}");
    assert!(effects.contains("tell 4 (order 3): 0!\n"), "{effects}");
    assert!(!effects.contains("restarting"), "{effects}");
}

#[test]
fn too_many_stuck_threads_end_the_cluster() {
    let mut script = Script::serving(2, 2);
    for (stuck, successor) in [(1, 3), (2, 4)] {
        script.stalls(stuck);
        script.listens(successor);
    }
    let effects = script.stalls(3);
    assert!(effects.contains("say Draining") && !effects.contains("start"), "{effects}");
    script.drained(4, 0);
    assert!(!script.fleet.is_over());
    // Nobody waits for ever for those that are stuck.
    script.after(DRAIN + GIVE_UP_AFTER);
    assert!(script.fleet.is_over());
    let stopped = script.fleet.into_result().0;
    assert_eq!(stopped.failure, Some(Failure::Stalled { workers: 3 }));
    assert_eq!(stopped.abandoned.len(), 3);
}

#[test]
fn scaling_up_moves_sockets_only_when_all_new_workers_are_ready() {
    let mut script = Script::serving(1, 3);
    let lines = ["say 1 started", "start 2 as 1: ", "say 2 started", "start 3 as 2: "];
    check(&script.scales(3), &lines);
    check(&script.listens(2), &[]);
    let lines = [
        "tell 1 (order 1): 0",
        "tell 2 (order 2): ~1",
        "tell 3 (order 3): ~2",
        "peers [1, 2, 3]",
        "say Scaled { workers: 3 }",
        "reply Ok(())",
    ];
    check(&script.listens(3), &lines);
    // Only now it is known that nobody else takes wake-ups there.
    check(&script.settles(1, 1), &["tell 2 (order 4): 1!", "tell 3 (order 5): 2!"]);
    check(&script.settles(2, 2), &[]);
    check(&script.settles(3, 3), &[]);
}

#[test]
fn scaling_down_retires_the_last_workers() {
    let mut script = Script::serving(3, 3);
    let lines = [
        "tell 1 (order 1): 0 ~1 ~2",
        "peers [1]",
        "tell 2: Retire",
        "tell 3: Retire",
        "say Scaled { workers: 1 }",
        "reply Ok(())",
    ];
    check(&script.scales(1), &lines);
    check(&script.settles(3, LEFT), &["tell 1 (order 2): 0 ~1 2!"]);
    check(&script.settles(2, LEFT), &["tell 1 (order 3): 0 1! 2"]);
    check(&script.drained(2, 0), &["say 1 exited: drained"]);
    check(
        &script.scales(1),
        &["tell 1 (order 4): 0 1 2", "peers [1]", "say Scaled { workers: 1 }", "reply Ok(())"],
    );
    check(&script.after(DRAIN + RELEASE_AFTER), &["release 3"]);
    check(&script.after(GIVE_UP_AFTER), &["say Abandoned { worker: 2 }"]);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let mut script = Script::serving(1, 3);
    script.scales(3);
    script.listens(2);
    let lines = [
        "say 2 exited: panic: boom",
        "tell 2: Retire",
        "reply Err(\"worker 2 did not start: panic: boom\")",
    ];
    check(&script.panics(3), &lines);
    check(&script.drained(2, 0), &["say 1 exited: drained"]);
    check(&script.scales(0), &["reply Err(\"at least one worker is needed\")"]);
    // A life of the old order still has a successor.
    assert!(script.panics(1).contains("restarting"));
}

#[test]
fn a_change_that_takes_too_long_is_given_up() {
    let mut script = Script::serving(1, 2);
    script.scales(2);
    check(&script.after(almost(READY_MAX)), &[]);
    let reply = "reply Err(\"it took longer than 30s\")";
    check(&script.after(MS), &["tell 2: Retire", reply]);
}

#[test]
fn one_change_at_a_time() {
    let mut script = Script::serving(1, 2);
    script.scales(2);
    check(&script.renews(2, 2), &["reply Err(\"another change is under way\")"]);
    let effects = script.step(Input::Drain);
    assert!(effects.contains("reply Err(\"the cluster ends\")\n"), "{effects}");
    check(&script.scales(2), &["reply Err(\"the cluster ends\")"]);
}

#[test]
fn a_renewal_replaces_every_life_when_all_are_ready() {
    let mut script = Script::serving(2, 2);
    let lines =
        ["say 0 started", "start 3 as 0 prepared: ", "say 1 started", "start 4 as 1 prepared: "];
    check(&script.renews(2, 2), &lines);
    script.listens(3);
    // Meanwhile the old ones are restarted as ever.
    script.panics(2);
    check(&script.after(Duration::ZERO), &["say 1 started", "start 5 as 1: 1"]);
    script.listens(5);
    check(&script.listens(4), &["Prepared(9)"]);
    let lines = [
        "Commit",
        "tell 3 (order 1): ~0",
        "tell 4 (order 2): ~1",
        "peers [3, 4]",
        "tell 1: Retire",
        "tell 5: Retire",
        "say Scaled { workers: 2 }",
        "reply Ok(())",
    ];
    check(&script.decides(true), &lines);
    check(&script.settles(1, LEFT), &["tell 3 (order 3): 0!"]);
    script.drained(1, 0);
    script.panics(5);
    assert!(script.panics(3).contains("restarting"));
}

#[test]
fn a_renewal_waits_for_the_decision_and_may_be_given_up() {
    let mut script = Script::serving(1, 1);
    script.renews(1, 1);
    check(&script.decides(true), &["reply Err(\"it was given up meanwhile\")"]);
    check(&script.listens(2), &["Prepared(9)"]);
    check(&script.decides(false), &["tell 2: Retire", "reply Err(\"it was decided so\")"]);
    script.drained(2, 0);
    // One of which a candidate ends while it waits is given up, too.
    script.renews(1, 1);
    script.listens(3);
    assert!(script.panics(3).contains("reply Err"));
    check(&script.decides(true), &["reply Err(\"it was given up meanwhile\")"]);
}

#[test]
fn a_renewal_that_fails_is_refused() {
    let mut script = Script::serving(1, 1);
    script.renews(1, 1);
    let lines = ["say 0 exited: panic: boom", "reply Err(\"worker 0 did not start: panic: boom\")"];
    check(&script.panics(2), &lines);
}

#[test]
fn one_that_stalls_before_it_has_given_up_its_sockets_is_stuck_with_them() {
    let mut script = Script::serving(1, 1);
    script.renews(1, 1);
    script.listens(2);
    assert!(script.decides(true).contains("tell 2 (order 1): ~0\n"));
    let lines = ["say 0 stalled for 5s in /stall", "lower 1", "tell 2 (order 2): ~0!"];
    check(&script.stalls(1), &lines);
    check(&script.stalls(1), &[]);
    // It is released, and not given up: it may still take the sockets' wake-ups.
    check(&script.after(DRAIN + RELEASE_AFTER), &["release 1"]);
    check(&script.after(10 * DRAIN), &[]);
    check(&script.step(Input::Moved(LifeId(1))), &["raise 1", "say Recovered { worker: 0 }"]);
    check(&script.settles(1, LEFT), &["tell 2 (order 3): 0!"]);
}

#[test]
fn one_that_stalls_before_it_has_shared_its_sockets_is_stuck_with_all_of_them() {
    let mut script = Script::serving(1, 2);
    script.scales(2);
    assert!(script.listens(2).contains("tell 2 (order 2): ~1\n"));
    let effects = script.stalls(1);
    assert!(effects.contains("start 3 as 0: ~0\n"), "{effects}");
    assert!(effects.contains("tell 2 (order 3): ~1!\n"), "{effects}");
    let effects = script.panics(1);
    assert!(effects.contains("tell 2 (order 5): 1!\n"), "{effects}");
}
