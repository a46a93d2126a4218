//! The manager and the apps are killed.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::client::{Load, answer, get, send};
use super::world::{PATIENCE, World, lives, shell, signal, stop, until, web};

#[test]
fn no_request_is_lost_when_the_manager_is_killed() {
    let world = World::with(&web("one"));
    let load = Load::on(world.address("web"));
    for again in [&["start", "web"][..], &["resurrect"]] {
        let pid = world.pid("web");
        let old = world.manager();
        world.kill_manager();
        world.exits(3, &["list"]);
        load.go_on(20);
        let started = world.done(again);
        assert!(started.err.contains("a manager was started"), "{}", started.err);
        assert_ne!(world.manager(), old);
        let app = world.app("web");
        assert_eq!((&app["pid"], &app["status"]), (&pid.into(), &"online".into()), "{app:#}");
        assert_eq!(app["problem"], serde_json::Value::Null);
        world.done(&["reload", "web"]);
        assert!(!lives(pid));
        load.go_on(20);
    }
    load.end();
    assert_eq!(world.units(), [world.pid("web")]);
}

#[test]
fn an_app_that_is_adopted_is_as_old_as_it_was() {
    let world = World::with(&shell("plain", "exec sleep 1000", ""));
    let uptime = || world.app("plain")["uptime_ms"].as_u64().unwrap();
    until("it has run for a while", || uptime() > 700);
    for again in 0..2 {
        let before = uptime();
        if again == 0 {
            world.kill_manager();
            world.done(&["resurrect"]);
        } else {
            world.done(&["upgrade"]);
        }
        let after = uptime();
        assert!(after >= before && after < before + 20_000, "{after} after {before}");
    }
}

#[test]
fn a_verb_says_so_when_the_manager_is_killed_meanwhile() {
    let world = World::with(&shell("stubborn", "trap '' TERM; while :; do sleep 1; done", ""));
    let stop = world.begin(&["stop", "stubborn"]);
    world.await_status("stubborn", "stopping");
    world.kill_manager();
    let stop = stop.end();
    assert_eq!(stop.code, 3, "{}", stop.err);
    assert!(stop.err.contains("ended before it answered"), "{}", stop.err);
}

#[test]
fn a_program_that_embeds_nothing_is_adopted_with_its_sockets() {
    let listening = "listen = [\"127.0.0.1:0\"]\ninstances = 2";
    let world = World::with(&shell("plain", "exec sleep 1000", listening));
    let (pids, address) = (world.pids("plain"), world.address("plain"));
    assert_eq!(pids.len(), 2);
    world.kill_manager();
    world.done(&["start", "plain"]);
    assert_eq!((world.pids("plain"), world.address("plain")), (pids.clone(), address));
    assert_eq!(world.app("plain")["problem"], serde_json::Value::Null);
    world.done(&["restart", "plain"]);
    assert!(world.pids("plain").iter().all(|pid| !pids.contains(pid)));
    assert_eq!(world.address("plain"), address);
}

#[test]
fn what_ends_while_no_manager_runs_is_started_again() {
    let world = World::with(&(web("one") + &shell("plain", "exec sleep 1000", "")));
    let pids = ["web", "plain"].map(|name| world.pid(name));
    world.kill_manager();
    for pid in pids {
        signal(pid, Signal::KILL);
    }
    world.done(&["start", "all"]);
    for (name, old) in ["web", "plain"].into_iter().zip(pids) {
        world.await_status(name, "online");
        assert_ne!(world.pid(name), old);
    }
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

#[test]
fn what_starts_a_manager_waits_until_all_that_had_ended_is_up_again() {
    // Ready only after a while.
    let slow = |name, more| {
        shell(name, "exec sleep 1000", &format!("restart = {{ min_uptime = \"400ms\" }}\n{more}"))
    };
    let world = World::with(&(slow("one", "") + &slow("two", "")));
    let statuses = || ["one", "two"].map(|name| world.app(name)["status"].clone());
    for verb in [&["start", "one"][..], &["start", "corelane.toml"], &["resurrect"]] {
        let pids = ["one", "two"].map(|name| world.pid(name));
        world.kill_manager();
        for pid in pids {
            signal(pid, Signal::KILL);
        }
        let started = world.done(verb);
        assert_eq!(statuses(), ["online", "online"], "{verb:?}");
        assert!(started.err.contains("one: "), "{verb:?}: {}", started.err);
    }
    // And says so if it does not come up.
    let pid = world.pid("one");
    let broken = world.read("h/state.json").replace("exec sleep 1000", "exit 3");
    world.kill_manager();
    world.write("h/state.json", &broken);
    signal(pid, Signal::KILL);
    let failed = world.exits(1, &["resurrect"]);
    assert!(failed.err.contains("one: failed: exited with code 3"), "{}", failed.err);
}

#[test]
fn a_rollout_goes_on_under_the_next_manager() {
    let config = |seconds: u32| {
        let more = "restart = { min_uptime = \"700ms\" }";
        shell("app", &format!("exec sleep {seconds}"), more)
    };
    let world = World::with(&config(1000));
    let old = world.pid("app");
    world.describe(&config(2000));
    let start = world.begin(&["start", "corelane.toml"]);
    until("both run", || world.units().len() == 2);
    // Written down is what has been answered, or is under way: not more.
    until("it is written down", || world.read("h/state.json").contains("candidate"));
    world.kill_manager();
    assert_eq!(start.end().code, 3);
    assert!(lives(old));
    world.done(&["resurrect"]);
    until("the new one is left", || world.units().len() == 1 && !lives(old));
    world.await_status("app", "online");
    assert_eq!(world.units(), world.pids("app"));
    assert_eq!(world.app("app")["definition"]["args"][1], "exec sleep 2000");
}

#[test]
fn an_upgrade_keeps_the_pid_and_the_apps() {
    let world = World::with(&(web("one") + &shell("plain", "exec sleep 1000", "")));
    let load = Load::on(world.address("web"));
    let (manager, pids) = (world.manager(), ["web", "plain"].map(|name| world.pid(name)));
    for _ in 0..2 {
        let upgraded = world.done(&["upgrade"]);
        assert!(upgraded.err.contains("the apps ran on"), "{}", upgraded.err);
        assert_eq!(
            (world.manager(), world.list()["manager"]["pid"].clone()),
            (manager, manager.into())
        );
        assert_eq!(["web", "plain"].map(|name| world.pid(name)), pids);
    }
    world.done(&["reload", "web"]);
    load.go_on(20);
    load.end();
}

#[test]
fn what_comes_behind_an_upgrade_is_not_answered_by_the_old_version() {
    let world = World::with(&web("one"));
    let manager = world.manager();
    let ask = |verb: &str| {
        let body = format!("{{\"verb\":\"{verb}\"}}");
        let mut stream = UnixStream::connect(world.home().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = "POST /v1/verb HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let kind = "Content-Type: application/json\r\n";
        let length = body.len();
        write!(stream, "{head}{kind}Content-Length: {length}\r\n\r\n{body}").unwrap();
        stream
    };
    // Both are there before it can look at either.
    stop(manager);
    let (upgrade, ping) = (ask("upgrade"), ask("ping"));
    signal(manager, Signal::CONT);
    let upgraded = std::io::read_to_string(upgrade).unwrap();
    assert!(upgraded.starts_with("HTTP/1.1 200 "), "{upgraded}");
    // Else whoever asks whether the new one is there takes the old one for it.
    let answer = std::io::read_to_string(ping).unwrap_or_default();
    assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
    until("the new one answers", || world.call(&["ping"]).code == 0);
    assert_eq!(world.manager(), manager);
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

#[test]
fn connections_made_while_an_app_is_down_are_served_by_its_successor() {
    let world = World::with(&web("one"));
    let (address, pid, manager) = (world.address("web"), world.pid("web"), world.manager());
    // The manager sees its end only later.
    stop(manager);
    signal(pid, Signal::KILL);
    // Its threads end one by one, and the first of them may not be the last.
    until("it is down", || !lives(pid) && threads(pid) <= 1);
    let waiting: Vec<_> = (0..20).map(|_| send(address).unwrap()).collect();
    signal(manager, Signal::CONT);
    for stream in waiting {
        assert_eq!(answer(stream).unwrap(), "one");
    }
    let app = world.app("web");
    assert_ne!(app["pid"], pid);
    assert_eq!(
        (&app["restarts"], &app["last_exit"]),
        (&1.into(), &"killed by signal 9 (KILL)".into())
    );
}
