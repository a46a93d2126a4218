//! The unit that starts the manager at boot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use super::program::skipped;
use super::world::{World, begin, web};

/// One with a directory for units, in which there is one of somebody else already.
fn world() -> World {
    let world = World::new();
    fs::create_dir(world.path("units")).unwrap();
    world.write("units/other.service", "[Unit]\n");
    world
}

fn units(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.path("units")).unwrap().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What the unit of whoever runs this test is called.
fn own(world: &World) -> String {
    let said = world.done(&["startup", "--units", "units"]).err;
    said.trim_end().rsplit_once('/').unwrap().1.to_owned()
}

#[test]
fn a_unit_is_written_as_it_is_printed_and_nothing_else_is_touched() {
    let world = world();
    let name = own(&world);
    let printed = world.done(&["startup", "--units", "units"]).out;
    let home = world.home().display().to_string();
    for line in [
        "Type=notify",
        &format!("Environment=\"CORELANE_HOME={home}\""),
        "KillMode=process",
        "Restart=on-failure",
        "StartLimitBurst=50",
        "WatchdogSignal=SIGKILL",
        "FileDescriptorStoreMax=4096",
    ] {
        assert!(printed.lines().any(|other| other == line), "{line} in {printed}");
    }
    assert_eq!(units(&world), ["other.service"]);
    for _ in 0..2 {
        let written = world.done(&["startup", "--install", "--units", "units"]);
        for said in [
            format!("units/{name} is written\n"),
            format!("`systemctl daemon-reload`, `systemctl enable {name}`\n"),
            format!("next: `systemctl start {name}` starts the manager\n"),
        ] {
            assert!(written.err.contains(&said), "{said} in {}", written.err);
        }
        assert!(!written.err.contains("runs already"), "{}", written.err);
        assert_eq!(units(&world), [&name, "other.service"]);
        let path = world.path("units").join(&name);
        assert_eq!(fs::read_to_string(&path).unwrap(), printed);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }
    let removed = world.done(&["unstartup", "--units", "units"]);
    assert!(removed.err.contains(&format!("units/{name} is removed; ")), "{}", removed.err);
    assert_eq!(units(&world), ["other.service"]);
    let again = world.done(&["unstartup", "--units", "units"]);
    assert!(again.err.contains("nothing to do"), "{}", again.err);
    assert_eq!(world.read("units/other.service"), "[Unit]\n");
}

#[test]
fn a_manager_that_runs_is_named() {
    let world = world();
    world.apply(&web("one"));
    let written = world.done(&["startup", "--install", "--units", "units"]);
    let said = format!("next: a manager runs already; `kill {}` ends it", world.manager());
    assert!(written.err.contains(&said), "{}", written.err);
    // Whoever has removed the unit has not ended anything.
    world.done(&["unstartup", "--units", "units"]);
    assert_eq!(world.app("web")["status"], "online");
}

#[test]
fn a_unit_of_a_user_who_is_no_more_can_be_removed() {
    let world = world();
    world.write("units/corelane-gone-user.service", "");
    world.done(&["unstartup", "--user", "gone-user", "--units", "units"]);
    assert_eq!(units(&world), ["other.service"]);
}

#[test]
fn what_could_not_start_is_not_written() {
    let world = world();
    if !geteuid().is_root() {
        return skipped("units of other users: this is not root");
    }
    world.open_to_all();
    world.write("file", "");
    for (name, mode) in [("roots", 0o755), ("open", 0o777), ("theirs", 0o700)] {
        fs::create_dir(world.path(name)).unwrap();
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    chown(world.path("theirs"), Some(65534), None).unwrap();
    let path = |name: &str| world.path(name).display().to_string();
    let (relative, awkward) = ("relative".to_owned(), path("a%b"));
    for (user, home, expected) in [
        ("no-such-user", path("theirs"), "there is no user `no-such-user`"),
        ("nobody", path("roots"), "roots does not belong to nobody"),
        ("nobody", path("file"), "file is no directory"),
        ("nobody", path("roots/home"), "and nobody cannot make it in "),
        ("nobody", path("roots/a/home"), "and nobody cannot make it in "),
        ("nobody", relative, "a unit cannot name relative"),
        ("nobody", awkward, "a unit cannot name "),
    ] {
        let args = ["startup", "--install", "--units", "units", "--user", user, "--home", &home];
        let refused = world.exits(2, &args);
        assert!(refused.err.contains(expected), "{user} {home}: {}", refused.err);
        assert!(refused.err.contains("\nhint: "), "{}", refused.err);
        assert_eq!(units(&world), ["other.service"]);
    }
    for home in ["theirs", "theirs/home", "open/home"] {
        let home = path(home);
        let args =
            ["startup", "--install", "--units", "units", "--user", "nobody", "--home", &home];
        world.done(&args);
        assert!(!Path::new(&home).join("manager.pid").exists());
    }
    assert_eq!(units(&world), ["corelane-nobody.service", "other.service"]);
    let nowhere = world.exits(1, &["startup", "--install", "--units", "nowhere"]);
    assert!(nowhere.err.contains("cannot write nowhere/corelane-"), "{}", nowhere.err);
}

#[test]
fn who_may_not_write_it_is_told_what_to_call() {
    let world = world();
    if !geteuid().is_root() {
        return skipped("units of other users: this is not root");
    }
    world.open_to_all();
    fs::create_dir(world.path("home")).unwrap();
    chown(world.path("home"), Some(65534), None).unwrap();
    let (home, units_of) = (world.path("home"), world.path("units"));
    let (home, units_of) = (home.display().to_string(), units_of.display().to_string());
    let binary = world.path("corelane");
    fs::copy(env!("CARGO_BIN_EXE_corelane"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["startup", "--install", "--units", &units_of, "--home", &home]);
    command.current_dir(world.dir()).env_clear().uid(65534).gid(65534);
    let refused = begin(&mut command).end();
    assert_eq!(refused.code, 1, "{}", refused.err);
    let call = format!(
        "permission denied\nhint: sudo {} startup --install --user nobody --home {home}\n",
        binary.display()
    );
    assert!(refused.err.ends_with(&call), "{}", refused.err);
    assert_eq!(units(&world), ["other.service"]);
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let world = world();
    let name = own(&world);
    // A directory is in its place, with something in it.
    fs::create_dir_all(world.path("units").join(&name).join("kept")).unwrap();
    let failed = world.exits(1, &["startup", "--install", "--units", "units"]);
    assert!(failed.err.contains("cannot write units/"), "{}", failed.err);
    assert_eq!(units(&world), [&name, "other.service"]);
}
