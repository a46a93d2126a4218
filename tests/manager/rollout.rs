//! New versions, and those that come to nothing.

use super::client::{Load, get};
use super::world::{World, lives, shell, stop, until, web};

#[test]
fn a_stopped_old_version_does_not_keep_the_new_one_from_serving() {
    let timeouts = "drain = \"200ms\", stop = \"3s\"";
    let config = |body: &str| web(body).replace("drain = \"2s\", stop = \"3s\"", timeouts);
    let world = World::with(&config("old"));
    let (address, old) = (world.address("web"), world.pid("web"));
    stop(old);
    world.describe(&config("new"));
    let start = world.begin(&["start", "corelane.toml"]);
    for number in 0..40 {
        assert_eq!(get(address).unwrap(), "new", "connection {number}");
    }
    assert!(lives(old), "it was not waited for");
    let start = start.end();
    assert_eq!(start.code, 0, "{}", start.err);
    assert!(!lives(old));
    assert_eq!(get(address).unwrap(), "new");
}

#[test]
fn a_restart_keeps_the_listener_open() {
    let world = World::with(&web("one"));
    let load = Load::on(world.address("web"));
    for _ in 0..3 {
        let pid = world.pid("web");
        world.done(&["restart", "web"]);
        assert!(!lives(pid));
        load.go_on(10);
    }
    load.end();
}

#[test]
fn a_reload_and_a_scale_lose_nothing() {
    let world = World::with(&web("one"));
    let load = Load::on(world.address("web"));
    for args in
        [["reload", "web", ""], ["scale", "web", "5"], ["reload", "web", ""], ["scale", "web", "1"]]
    {
        let args: Vec<_> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        world.done(&args);
        load.go_on(10);
    }
    load.end();
    assert_eq!(world.app("web")["workers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_new_version_that_does_not_start_leaves_the_old_one() {
    let world = World::new();
    world.write("run", "exec sleep 1000");
    world.apply(&shell("app", "exec sh ./run", "restart = { min_uptime = \"300ms\" }"));
    let pid = world.pid("app");
    world.write("run", "echo the reason >&2; exit 3");
    let reload = world.exits(4, &["reload", "app"]);
    for part in ["exited with code 3", "the old one serves on", "    the reason"] {
        assert!(reload.err.contains(part), "{part:?} in {}", reload.err);
    }
    let app = world.app("app");
    assert_eq!((&app["pid"], &app["status"]), (&pid.into(), &"online".into()), "{app:#}");
    assert_eq!(world.units(), [pid]);
}

#[test]
fn a_new_version_that_does_not_get_ready_leaves_the_old_one() {
    let config = |uptime: &str, more: &str| {
        let more = format!("restart = {{ min_uptime = \"{uptime}\" }}\n{more}");
        shell("app", "exec sleep 1000", &more)
    };
    let world = World::with(&config("50ms", ""));
    let pid = world.pid("app");
    world.describe(&config("30s", "timeouts = { ready = \"300ms\" }"));
    let start = world.exits(4, &["start", "corelane.toml"]);
    assert!(start.err.contains("not ready within 300ms; the old one serves on"), "{}", start.err);
    let app = world.app("app");
    assert_eq!((&app["pid"], &app["status"]), (&pid.into(), &"online".into()), "{app:#}");
    assert_eq!(app["definition"]["restart"]["min_uptime"], "50ms", "{app:#}");
    until("the new one is gone", || world.units() == [pid]);
}

#[test]
fn an_app_that_does_not_get_ready_is_a_failure() {
    let more =
        "restart = { min_uptime = \"30s\", max_restarts = 1 }\ntimeouts = { ready = \"200ms\" }";
    let world = World::new();
    world.describe(&shell("app", "echo still here >&2; exec sleep 1000", more));
    let start = world.call(&["start", "corelane.toml"]);
    assert_eq!(start.code, 1, "{}", start.err);
    for part in ["app: failed: not ready within 200ms", "    still here"] {
        assert!(start.err.contains(part), "{part:?} in {}", start.err);
    }
    world.await_status("app", "errored");
    assert!(world.units().is_empty());
}

#[test]
fn two_verbs_at_once_leave_an_app_whole() {
    let world = World::with(&web("one"));
    let pairs = [
        (["restart", "web", ""], ["reload", "web", ""]),
        (["reload", "web", ""], ["reload", "web", ""]),
        (["scale", "web", "3"], ["reload", "web", ""]),
        (["stop", "web", ""], ["start", "web", ""]),
        (["reload", "web", ""], ["stop", "web", ""]),
    ];
    for (one, other) in pairs {
        let begin = |args: [&'static str; 3]| {
            let args: Vec<_> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
            world.begin(&args)
        };
        let both = [begin(one), begin(other)].map(super::world::Begun::end);
        for called in &both {
            assert!(matches!(called.code, 0 | 1), "{one:?} {other:?}: {both:?}");
        }
        let app = world.app("web");
        let online = app["status"] == "online";
        assert!(online || app["status"] == "stopped", "{one:?} {other:?}: {app:#}");
        assert_eq!(world.units(), world.pids("web"), "{one:?} {other:?}");
        world.done(&["start", "web"]);
        assert_eq!(get(world.address("web")).unwrap(), "one");
    }
}
