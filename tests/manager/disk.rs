//! Files that cannot be written, or are gone: as far as that can be had without another disk. The
//! rest is in `tests/disk`.

use std::fs;
use std::io::Write;
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::client::get;
use super::world::{World, lives, shell, signal, until, web};

const LOG: &str = "h/logs/web.err.log";
const LIMIT: u64 = 64 * 1024;

fn problem(world: &World, name: &str) -> String {
    world.app(name)["problem"].as_str().unwrap_or_default().to_owned()
}

/// No file that this process writes to may be longer.
fn limit(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn a_log_that_may_not_grow_stops_and_the_app_does_not() {
    let world = World::with(&web("one"));
    let (pid, manager) = (world.pid("web"), world.manager());
    for process in [pid, manager] {
        limit(process, Some(LIMIT));
    }
    let mut log = fs::File::options().append(true).open(world.path(LOG)).unwrap();
    log.write_all(&vec![b'\n'; usize::try_from(LIMIT).unwrap()]).unwrap();
    let text = format!("its log {} is stopped: File too large", world.path(LOG).display());
    assert!(problem(&world, "web").starts_with(&text), "{}", problem(&world, "web"));
    assert!(world.done(&["list"]).err.contains(&text));
    world.done(&["scale", "web", "3"]);
    assert_eq!((world.pid("web"), get(world.address("web")).unwrap().as_str()), (pid, "one"));
    for process in [pid, manager] {
        limit(process, None);
    }
    assert_eq!(problem(&world, "web"), "");
    world.done(&["scale", "web", "2"]);
    until("the log goes on", || world.read(LOG).contains("now 2 workers"));
}

#[test]
fn a_change_that_cannot_be_written_down_is_not_begun() {
    let world = World::with(&web("one"));
    world.done(&["save"]);
    let (pid, state) = (world.pid("web"), world.read("h/state.json"));
    limit(world.manager(), Some(128));
    let many: String = (0..100).map(|n| shell(&format!("a{n}"), "true", "")).collect();
    world.describe(&(web("two") + &many));
    let refused = world.exits(1, &["start", "corelane.toml"]);
    for words in ["nothing was changed", "state.new: File too large", "hint: "] {
        assert!(refused.err.contains(words), "{words:?} in {}", refused.err);
    }
    let refused = world.exits(1, &["save"]);
    assert!(refused.err.contains("saved.json: File too large"), "{}", refused.err);
    assert_eq!((world.pid("web"), world.read("h/state.json").trim_end()), (pid, state.trim_end()));
    assert_eq!(get(world.address("web")).unwrap(), "one");
    limit(world.manager(), None);
    world.describe(&web("two"));
    world.done(&["start", "corelane.toml"]);
    assert_eq!(get(world.address("web")).unwrap(), "two");
}

#[test]
fn nothing_is_changed_where_the_state_cannot_be_written() {
    let world = World::with(&web("one"));
    let (pid, address) = (world.pid("web"), world.address("web"));
    let new = world.path("h/state.new");
    fs::remove_file(&new).unwrap();
    fs::create_dir(&new).unwrap();
    let verbs = ["restart", "reload", "stop", "delete", "reset", "start"];
    for verb in verbs.map(|verb| vec![verb, "web"]).into_iter().chain([
        vec!["scale", "web", "3"],
        vec!["kill"],
        vec!["resurrect"],
        vec!["start", "corelane.toml"],
    ]) {
        let refused = world.exits(1, &verb);
        assert!(refused.err.contains("state.new: Is a directory"), "{verb:?}: {}", refused.err);
    }
    let app = world.app("web");
    assert_eq!((&app["pid"], &app["restarts"]), (&pid.into(), &0.into()));
    // What happens by itself does, and the operator is told.
    signal(pid, Signal::KILL);
    until("it is started again", || world.app("web")["restarts"] == 1);
    world.await_status("web", "online");
    let problems = || world.list()["manager"]["problems"].to_string();
    until("it is said", || problems().contains("the state cannot be written to "));
    assert_eq!(get(address).unwrap(), "one");
    fs::remove_dir(&new).unwrap();
    world.done(&["restart", "web"]);
    until("it is written", || problems() == "[]");
    let pid = world.pid("web");
    world.kill_manager();
    world.done(&["resurrect"]);
    assert_eq!(world.pid("web"), pid);
}

#[test]
fn a_log_directory_that_was_removed_is_made_anew() {
    let plain = shell("plain", "exec sleep 1000", "");
    let world = World::with(&(web("one") + &plain));
    let pids = ["web", "plain"].map(|name| world.pid(name));
    fs::remove_dir_all(world.path("h/logs")).unwrap();
    world.write("h/logs", "in its way");
    let text = "was removed; hint: `corelane reload plain` opens it again";
    assert!(problem(&world, "plain").ends_with(text), "{}", problem(&world, "plain"));
    assert!(problem(&world, "web").ends_with("was removed"), "{}", problem(&world, "web"));
    // One that ends is of more use without a log than down.
    signal(pids[0], Signal::KILL);
    until("it is started again", || world.app("web")["restarts"] == 1);
    world.await_status("web", "online");
    let dir = world.path("h/logs");
    let text = format!("its logs could not be opened in {}", dir.display());
    assert_eq!(problem(&world, "web"), text);
    let pid = world.pid("web");
    let refused = world.exits(4, &["reload", "web"]);
    assert!(refused.err.contains("cannot open its logs: "), "{}", refused.err);
    assert!(refused.err.contains(dir.to_str().unwrap()), "{}", refused.err);
    fs::remove_file(&dir).unwrap();
    until("it has a log", || problem(&world, "web").is_empty() && Path::new(&dir).exists());
    world.done(&["scale", "web", "3"]);
    until("it writes there", || world.read(LOG).contains("now 3 workers"));
    assert_eq!((world.pid("web"), world.pid("plain")), (pid, pids[1]));
    world.done(&["reload", "plain"]);
    assert_eq!(problem(&world, "plain"), "");
}

#[test]
fn a_home_that_was_removed_is_made_anew_by_the_manager_that_there_is() {
    let world = World::with(&(web("one") + &shell("plain", "exec sleep 1000", "")));
    let (manager, units) = (world.manager(), world.units());
    let address = world.address("web");
    fs::remove_dir_all(world.home()).unwrap();
    // Whoever comes too early waits for it.
    world.done(&["start", "web"]);
    assert_eq!((world.manager(), world.units()), (manager, units.clone()));
    assert_eq!(get(address).unwrap(), "one");
    world.done(&["restart", "plain"]);
    let units = world.units();
    world.kill_manager();
    world.done(&["resurrect"]);
    assert_eq!(world.units(), units, "they were written down in the new home");
    let (manager, pid) = (world.manager(), world.pid("web"));
    fs::remove_file(world.path("h/control.sock")).unwrap();
    until("there is a socket again", || world.path("h/control.sock").exists());
    world.done(&["ping"]);
    assert_eq!((world.manager(), world.pid("web")), (manager, pid));
    world.done(&["kill"]);
    assert!(!lives(manager));
}
