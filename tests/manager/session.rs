//! The verbs, one after another, and what they exit with.

use std::net::TcpStream;

use serde_json::Value;

use super::client::{get, is_refused};
use super::world::{World, lives, shell, until, web};

fn workers(world: &World) -> usize {
    world.app("web")["workers"].as_array().unwrap().len()
}

#[test]
fn a_session_goes_from_start_to_kill() {
    let world = World::new();
    for verb in ["list", "ping", "save", "kill", "upgrade"] {
        world.exits(3, &[verb]);
    }
    world.exits(3, &["reload", "web"]);
    let started = world.apply(&web("one"));
    for part in ["a manager was started", "web: online"] {
        assert!(started.err.contains(part), "{part:?} in {}", started.err);
    }
    assert!(started.out.contains("web") && started.out.contains("online"), "{}", started.out);
    lists(&world);
    describes(&world);
    replaces(&world);
    scales(&world);
    stops_and_starts(&world);
    forgets_and_remembers(&world);
}

fn lists(world: &World) {
    for verb in ["list", "ls", "status", "ps"] {
        let listed = world.done(&[verb]).out;
        assert!(listed.contains("req/s") && listed.contains("web"), "{listed}");
    }
    let list = world.list();
    assert_eq!(list["schema"], 1);
    assert_eq!(list["manager"]["pid"], world.manager());
    let app = &list["apps"][0];
    assert_eq!((&app["id"], &app["kind"]), (&0.into(), &"routes".into()), "{app:#}");
    let workers = app["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker["connections"].is_u64()), "{workers:?}");
    assert!(world.done(&["list", "--workers"]).out.contains("worker 1"));
    let held = TcpStream::connect(world.address("web")).unwrap();
    until("a connection is counted", || world.app("web")["connections"] == 1);
    drop(held);
    let ping: Value = serde_json::from_str(&world.done(&["ping", "--json"]).out).unwrap();
    assert_eq!(ping["pid"], world.manager());
    assert_eq!(ping["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

fn describes(world: &World) {
    for verb in ["describe", "show"] {
        for name in ["web", "0"] {
            let described = world.done(&[verb, name]).out;
            for part in ["listens on", "last exit", "web.err.log", "p99"] {
                assert!(described.contains(part), "{part:?} in {described}");
            }
        }
    }
    let json: Value =
        serde_json::from_str(&world.done(&["describe", "web", "--json"]).out).unwrap();
    assert_eq!(json["apps"][0]["definition"]["instances"], 2);
    world.exits(5, &["describe", "none"]);
    let logs = || world.done(&["logs", "web", "--nostream", "--err"]).out;
    until("a worker is logged", || logs().contains("web | worker 0 on CPU "));
    assert_eq!(world.done(&["logs", "--nostream", "--out"]).out, "");
    world.exits(5, &["logs", "none", "--nostream"]);
}

fn replaces(world: &World) {
    let address = world.address("web");
    let mut pids = vec![world.pid("web")];
    for verb in ["restart", "reload"] {
        assert!(world.done(&[verb, "web"]).err.contains("web: "));
        let pid = world.pid("web");
        assert!(!pids.contains(&pid) && !lives(*pids.last().unwrap()), "{verb}");
        assert_eq!(get(address).unwrap(), "one");
        pids.push(pid);
        assert_eq!(world.app("web")["restarts"], pids.len() - 1);
    }
    world.done(&["reset", "all"]);
    assert_eq!(world.app("web")["restarts"], 0);
    world.done(&["flush", "web"]);
    assert_eq!(world.done(&["logs", "web", "--nostream"]).out, "");
}

fn scales(world: &World) {
    let pid = world.pid("web");
    for (instances, count) in [("4", 4), ("+1", 5), ("-2", 3), ("-1", 2)] {
        world.done(&["scale", "web", instances]);
        assert_eq!(workers(world), count, "{instances}");
    }
    world.done(&["scale", "web", "max"]);
    assert_eq!(world.app("web")["instances"], "max");
    assert!(world.done(&["list"]).out.contains(&format!("{} (max)", workers(world))));
    for wrong in ["0", "x", "-99", "9999"] {
        let failed = world.exits(1, &["scale", "web", wrong]);
        assert!(failed.err.contains("web: not scaled: "), "{}", failed.err);
    }
    world.done(&["scale", "web", "2"]);
    assert_eq!((workers(world), world.pid("web")), (2, pid));
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

fn stops_and_starts(world: &World) {
    let (address, pid) = (world.address("web"), world.pid("web"));
    world.done(&["stop", "web"]);
    is_refused(address);
    assert!(!lives(pid));
    let app = world.app("web");
    assert_eq!((&app["status"], &app["pid"]), (&"stopped".into(), &Value::Null), "{app:#}");
    world.done(&["stop", "web"]);
    world.done(&["start", "web"]);
    assert_eq!(get(world.address("web")).unwrap(), "one");
    assert!(world.done(&["start", "0"]).err.contains("web: is online already"));
}

fn forgets_and_remembers(world: &World) {
    world.done(&["save"]);
    world.done(&["delete", "web"]);
    assert_eq!(world.list()["apps"], Value::Array(Vec::new()));
    assert!(world.units().is_empty());
    world.done(&["resurrect"]);
    let address = world.address("web");
    assert_eq!(get(address).unwrap(), "one");
    let manager = world.manager();
    world.done(&["kill"]);
    assert!(!lives(manager) && world.units().is_empty());
    is_refused(address);
    world.exits(3, &["list"]);
    assert!(world.done(&["resurrect"]).err.contains("a manager was started"));
    assert_eq!(world.app("web")["status"], "online");
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let world = World::with(&web("one"));
    world.write(
        "wrong.toml",
        "[[apps]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\nrutes = []\nroutes = []\n",
    );
    let wrong = world.exits(2, &["start", "wrong.toml"]);
    assert!(
        wrong.err.starts_with("wrong.toml:4:1: ") && wrong.err.contains("`routes`?"),
        "{}",
        wrong.err
    );
    world.exits(2, &["start", "none.toml"]);
    world.exits(2, &["start", "wrong.toml", "web"]);
    world.exits(2, &["start", "corelane.toml", "--only", "none"]);
    world.exits(2, &["plan", "wrong.toml"]);
    world.exits(2, &["restart"]);
    world.exits(2, &["frobnicate"]);
    for verb in ["start", "restart", "reload", "stop", "delete", "reset", "flush"] {
        let called = world.exits(5, &[verb, "web", "none"]);
        assert!(called.err.contains("`none`"), "{}", called.err);
    }
    world.exits(5, &["scale", "none", "2"]);
    world.exits(2, &["describe"]);
    world.write("last.toml", &shell("last", "exit 3", "restart = { policy = \"never\" }"));
    let failed = world.exits(1, &["start", "last.toml"]);
    assert!(failed.err.contains("last: failed: exited with code 3"), "{}", failed.err);
}
