//! What a manager finds in its home.

use std::fs;

use super::client::get;
use super::world::{World, lives, shell, until, web};

const STATE: &str = "h/state.json";
const PREVIOUS: &str = "h/state.previous.json";

#[test]
fn a_damaged_state_is_made_good_by_the_one_before() {
    let world = World::with(&web("one"));
    for number in 0..2 {
        let address = world.address("web");
        world.kill_manager();
        let whole = world.read(STATE);
        let whole = whole.trim_end();
        // Torn in the middle, then empty.
        world.write(STATE, if number == 0 { &whole[..whole.len() / 2] } else { "" });
        assert!(!world.read(PREVIOUS).is_empty());
        world.done(&["start", "web"]);
        let log = world.read("h/manager.log");
        let warnings =
            log.lines().filter(|line| line.contains("WARN") && line.contains("was damaged"));
        assert_eq!(warnings.count(), number + 1, "{log}");
        assert_eq!(world.app("web")["status"], "online");
        until("one process is left", || world.units() == [world.pid("web")]);
        assert_eq!(get(world.address("web")).unwrap(), "one", "was at {address}");
    }
}

#[test]
fn a_state_that_cannot_be_read_is_an_error_and_apps_run_on() {
    let world = World::with(&web("one"));
    let (address, pid) = (world.address("web"), world.pid("web"));
    world.kill_manager();
    let (state, previous) = (world.read(STATE), world.read(PREVIOUS));
    let cases = [
        ("", "{\"vers", "is damaged (it is empty), and so is the one before; hint: "),
        ("{\"version\": 99}", &previous, "is of a newer corelane (version 99"),
        ("\u{0}\u{0}\u{0}", "", "is damaged"),
    ];
    for (now, before, message) in cases {
        world.write(STATE, now);
        world.write(PREVIOUS, before);
        for verb in [&["start", "web"][..], &["resurrect"], &["daemon"]] {
            let failed = world.exits(1, verb);
            assert!(failed.err.contains(message), "{verb:?}: {}", failed.err);
        }
        world.exits(3, &["list"]);
        assert_eq!((world.read(STATE).as_str(), world.read(PREVIOUS).as_str()), (now, before));
    }
    assert!(lives(pid));
    world.write(STATE, &state);
    world.done(&["resurrect"]);
    assert_eq!((world.pid("web"), get(address).unwrap().as_str()), (pid, "one"));
}

#[test]
fn what_is_left_of_a_dead_manager_is_in_nobodys_way() {
    let world = World::with(&web("one"));
    world.kill_manager();
    assert!(world.path("h/control.sock").exists());
    world.exits(3, &["list"]);
    // A pid that is somebody else's by now is none of a manager.
    world.write("h/manager.pid", "1\n");
    world.done(&["start", "web"]);
    assert_ne!(world.manager(), 1);
    world.kill_manager();
    fs::remove_file(world.path("h/control.sock")).unwrap();
    world.write("h/run/9-9.sock", "");
    world.done(&["start", "web"]);
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

#[test]
fn there_is_one_manager_to_a_home() {
    let world = World::new();
    world.describe(&shell("app", "exec sleep 1000", ""));
    // Whoever of these comes too late asks the manager of the one that did not.
    let starts: Vec<_> = (0..4).map(|_| world.begin(&["start", "corelane.toml"])).collect();
    for start in starts {
        let start = start.end();
        assert_eq!(start.code, 0, "{}", start.err);
    }
    assert_eq!(world.list()["apps"].as_array().unwrap().len(), 1);
    assert_eq!(world.units(), [world.pid("app")]);
    let second = world.exits(1, &["daemon"]);
    let pid = world.manager();
    assert!(second.err.contains("runs already in "), "{}", second.err);
    assert!(second.err.contains(&format!(", pid {pid}")), "{}", second.err);
}

#[test]
fn a_home_that_cannot_be_is_an_error() {
    let world = World::new();
    world.describe(&web("one"));
    world.write("h", "a file");
    for verb in [&["start", "corelane.toml"][..], &["resurrect"], &["daemon"]] {
        let failed = world.exits(1, verb);
        assert!(failed.err.contains(&world.home().display().to_string()), "{}", failed.err);
    }
    fs::remove_file(world.home()).unwrap();
    let long = "x".repeat(90);
    let start = |home: &str| {
        let mut command = world.command(&["start", "corelane.toml"]);
        super::world::begin(command.env("CORELANE_HOME", home)).end()
    };
    let failed = start(&format!("/tmp/{long}"));
    assert!(failed.code == 2 && failed.err.contains("longer than 80 bytes"), "{failed:?}");
    let failed = start("");
    assert!(failed.code == 2 && failed.err.contains("hint: set CORELANE_HOME"), "{failed:?}");
}
