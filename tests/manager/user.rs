//! Other users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::geteuid;

use super::client::get;
use super::program::skipped;
use super::world::{Called, World, begin, environment, shell, web};

const NOBODY: u32 = 65534;

/// A world that nobody can look into, with the program in it; none unless this is root.
fn world() -> Option<World> {
    if !geteuid().is_root() {
        skipped("what another user may do: this is not root");
        return None;
    }
    let world = World::new();
    world.open_to_all();
    let binary = program(&world);
    // Wherever the checkout is, another user may not get there.
    if fs::hard_link(env!("CARGO_BIN_EXE_corelane"), &binary).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_corelane"), &binary).unwrap();
    }
    Some(world)
}

fn program(world: &World) -> PathBuf {
    world.path("corelane")
}

/// What that user gets to hear.
#[track_caller]
fn as_nobody(world: &World, home: &str, args: &[&str]) -> Called {
    let mut command = Command::new(program(world));
    command.args(args).current_dir(world.dir()).env_clear().env("CORELANE_HOME", home);
    begin(command.uid(NOBODY).gid(NOBODY)).end()
}

/// The first of a process's user ids.
fn uid(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn another_user_is_refused() {
    let Some(world) = world() else { return };
    world.apply(&web("one"));
    let home = world.home().display().to_string();
    for (mode, socket) in [(0o700, 0o600), (0o755, 0o600), (0o755, 0o666)] {
        // Even if somebody opens the home and the socket in it: the kernel says who asks.
        fs::set_permissions(world.home(), fs::Permissions::from_mode(mode)).unwrap();
        let path = world.home().join("control.sock");
        fs::set_permissions(path, fs::Permissions::from_mode(socket)).unwrap();
        for args in [&["list"][..], &["kill"], &["start", "web"], &["describe", "web", "--secrets"]]
        {
            let refused = as_nobody(&world, &home, args);
            assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{args:?}: {}", refused.err);
            assert!(refused.err.contains("permission denied; hint: "), "{}", refused.err);
        }
    }
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

#[test]
fn a_home_that_is_not_writable_is_an_error() {
    let Some(world) = world() else { return };
    world.describe(&web("one"));
    fs::set_permissions(world.path("corelane.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    for home in [world.home().display().to_string(), world.dir().display().to_string()] {
        for args in [&["start", "corelane.toml"][..], &["resurrect"], &["daemon"]] {
            let failed = as_nobody(&world, &home, args);
            assert_eq!(failed.code, 1, "{args:?}: {}", failed.err);
            let said =
                failed.err.contains("ermission denied") || failed.err.contains("not permitted");
            assert!(said && failed.err.contains(&home), "{args:?}: {}", failed.err);
        }
        assert_eq!(as_nobody(&world, &home, &["list"]).code, 3);
    }
}

#[test]
fn an_app_runs_as_the_user_that_was_named() {
    let Some(world) = world() else { return };
    let web = web("one").replace("routes =", "user = \"nobody\"\nroutes =");
    world.describe(&(web + &shell("plain", "exec sleep 1000", "user = \"nobody\"")));
    let mut command = Command::new(program(&world));
    command.args(["start", "corelane.toml"]).current_dir(world.dir()).env_clear();
    let started = begin(command.env("CORELANE_HOME", world.home())).end();
    assert_eq!(started.code, 0, "{}", started.err);
    for name in ["web", "plain"] {
        let pid = world.pid(name);
        assert_eq!(uid(pid), NOBODY, "{name}");
        let variables = environment(pid);
        for expected in ["USER=nobody", "LOGNAME=nobody"] {
            assert!(variables.iter().any(|it| it == expected), "{expected} in {variables:?}");
        }
    }
    assert_eq!(get(world.address("web")).unwrap(), "one");
    let address = world.address("web");
    world.done(&["reload", "web"]);
    world.kill_manager();
    let mut command = Command::new(program(&world));
    command.args(["start", "web"]).env_clear().env("CORELANE_HOME", world.home());
    let started = begin(&mut command).end();
    assert_eq!(started.code, 0, "{}", started.err);
    assert_eq!(world.app("web")["problem"], serde_json::Value::Null);
    world.done(&["reload", "web"]);
    assert_eq!((uid(world.pid("web")), get(address).unwrap().as_str()), (NOBODY, "one"));
}
