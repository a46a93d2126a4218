//! Apps that end too often, or not at all.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{get, is_refused};
use super::world::{World, lives, shell, signal, until, web};

fn crashing(max_restarts: u32) -> String {
    let more = format!(
        "restart = {{ backoff = \"10ms\", backoff_max = \"20ms\", max_restarts = {max_restarts}, \
         min_uptime = \"10s\" }}"
    );
    shell("crash", "echo run >> runs; echo the reason >&2; exit 7", &more)
}

#[test]
fn a_crash_loop_ends_as_errored_with_the_reason() {
    let world = World::new();
    world.describe(&crashing(5));
    // The first three restarts come at once, before the fourth it is waited.
    let start = world.exits(1, &["start", "corelane.toml"]);
    for part in ["crash: failed: exited with code 7; it is started again", "    the reason"] {
        assert!(start.err.contains(part), "{part:?} in {}", start.err);
    }
    world.await_status("crash", "errored");
    let app = world.app("crash");
    let problem = app["problem"].as_str().unwrap();
    assert_eq!(problem, "exited with code 7; restarted 5 times within 60s, no more");
    assert_eq!((&app["restarts"], &app["pid"]), (&5.into(), &serde_json::Value::Null));
    assert_eq!(world.read("runs").lines().count(), 6);
    assert!(world.done(&["list"]).err.contains(problem));
    // Asked for again, it begins anew.
    world.exits(1, &["restart", "crash"]);
    world.await_status("crash", "errored");
    assert_eq!(world.read("runs").lines().count(), 12);
    world.done(&["stop", "crash"]);
    assert_eq!(world.app("crash")["status"], "stopped");
}

#[test]
fn who_waits_for_an_app_hears_that_it_is_errored() {
    let world = World::new();
    world.describe(&crashing(2));
    let start = world.exits(70, &["start", "corelane.toml"]);
    for part in ["exited with code 7; restarted 2 times within 60s", "    the reason"] {
        assert!(start.err.contains(part), "{part:?} in {}", start.err);
    }
    world.exits(70, &["start", "crash"]);
}

#[test]
fn an_exit_that_is_wanted_is_not_answered_by_a_restart() {
    let codes = "restart = { min_uptime = \"50ms\", stop_exit_codes = [9] }";
    let world = World::with(&shell("app", "until [ -e go ]; do sleep 0.05; done; exit 9", codes));
    world.write("go", "");
    world.await_status("app", "stopped");
    let app = world.app("app");
    assert_eq!((&app["restarts"], &app["last_exit"]), (&0.into(), &"exited with code 9".into()));
}

#[test]
fn an_app_that_ignores_term_is_killed_with_its_group() {
    let script = "trap '' TERM; sleep 1000 & echo $! > child; while :; do sleep 1; done";
    let more = "timeouts = { drain = \"200ms\", stop = \"500ms\" }";
    let world = World::with(&shell("stubborn", script, more));
    until("it has a child", || world.read("child").ends_with('\n'));
    let (pid, child) = (world.pid("stubborn"), world.read("child").trim().parse().unwrap());
    assert!(lives(child));
    let begun = Instant::now();
    world.done(&["stop", "stubborn"]);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(!lives(pid), "it was waited for");
    until("its child is gone", || !lives(child));
    assert_eq!(world.app("stubborn")["last_exit"], "killed by signal 9 (KILL)");
}

#[test]
fn an_app_that_is_stopped_before_it_is_ready_stays_stopped() {
    let script = "trap 'sleep 0.6; exit' TERM; touch runs; while :; do sleep 0.05; done";
    let world = World::new();
    world.describe(&shell("slow", script, "restart = { min_uptime = \"400ms\" }"));
    let start = world.begin(&["start", "corelane.toml"]);
    until("it runs", || world.path("runs").exists());
    // It would count as ready before it has ended.
    world.done(&["stop", "slow"]);
    assert_eq!(start.end().code, 1);
    assert_eq!(world.app("slow")["status"], "stopped");
    assert!(world.units().is_empty());
}

#[test]
fn a_process_that_becomes_ready_starts_no_sibling() {
    // The first ends for good, the others run.
    let script = "[ $CORELANE_INSTANCE = 0 ] && [ -e go ] && exit 9; exec sleep 1000";
    let more = "instances = 3\nrestart = { min_uptime = \"50ms\", stop_exit_codes = [9] }";
    let world = World::with(&shell("app", script, more));
    let pids = world.pids("app");
    world.write("go", "");
    signal(pids[0], Signal::KILL);
    until("the first has ended", || world.pids("app") == pids[1..]);
    signal(pids[1], Signal::KILL);
    until("the second is back", || world.app("app")["restarts"] == 2);
    world.await_status("app", "online");
    assert_eq!(world.pids("app").len(), 2);
    assert_eq!(world.app("app")["restarts"], 2);
}

#[test]
fn what_an_app_has_started_ends_with_it() {
    let script = "sleep 1000 & echo $! > child; until [ -e go ]; do sleep 0.05; done; exit 1";
    let world = World::with(&shell(
        "parent",
        script,
        "restart = { min_uptime = \"50ms\", policy = \"never\" }",
    ));
    until("it has a child", || world.read("child").ends_with('\n'));
    let child = world.read("child").trim().parse().unwrap();
    world.write("go", "");
    until("its child is gone", || !lives(child));
    world.await_status("parent", "stopped");
}

#[test]
fn the_signal_to_stop_by_is_the_one_that_was_named() {
    let script =
        "trap 'echo named > got; exit 0' USR2; trap 'exit 1' TERM; while :; do sleep 0.05; done";
    let world = World::with(&shell("app", script, "stop_signal = \"USR2\""));
    world.done(&["stop", "app"]);
    assert_eq!(world.read("got"), "named\n");
}

#[test]
fn a_manager_that_is_told_to_end_leaves_the_apps_running() {
    let world = World::with(&web("one"));
    let (address, pid, manager) = (world.address("web"), world.pid("web"), world.manager());
    signal(manager, Signal::TERM);
    until("the manager is gone", || !lives(manager));
    assert_eq!(get(address).unwrap(), "one");
    world.exits(3, &["list"]);
    world.done(&["resurrect"]);
    assert_eq!(world.pid("web"), pid);
    world.done(&["kill"]);
    is_refused(address);
}

#[test]
fn an_errored_app_stays_so_under_the_next_manager() {
    let world = World::new();
    world.describe(&crashing(2));
    world.exits(70, &["start", "corelane.toml"]);
    let runs = world.read("runs");
    world.kill_manager();
    world.done(&["resurrect"]);
    let app = world.app("crash");
    assert_eq!(app["status"], "errored");
    assert!(app["problem"].as_str().unwrap().contains("exited with code 7"), "{app}");
    assert_eq!(world.read("runs"), runs, "nobody has tried it again");
}

#[test]
fn nothing_is_begun_while_everything_is_being_stopped() {
    let slow = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done";
    let world = World::with(&shell("slow", slow, ""));
    let kill = world.begin(&["kill"]);
    world.await_status("slow", "stopping");
    world.describe(&shell("late", "exec sleep 1000", ""));
    for args in [&["start", "corelane.toml"][..], &["start", "slow"], &["restart", "slow"]] {
        let refused = world.exits(1, args);
        assert!(refused.err.contains("everything is being stopped"), "{}", refused.err);
    }
    world.done(&["ping"]);
    assert_eq!(kill.end().code, 0);
    assert!(world.units().is_empty(), "{:?}", world.units());
}
