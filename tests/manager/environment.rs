//! What programs are given, and who gets to see it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::world::{World, begin, environment, shell, web};

const SECRET: &str = "n0b0dys-business";

/// Its variables, but for what the manager says to it.
fn variables(world: &World, app: &str) -> BTreeMap<String, String> {
    let variables = environment(world.pid(app)).into_iter();
    let pairs = variables.map(|it| it.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
    let mut pairs: BTreeMap<_, _> = pairs.map(Option::unwrap).collect();
    let mark = pairs.remove("CORELANE_UNIT").unwrap();
    assert!(mark.starts_with(&format!("{}:", world.home().display())), "{mark}");
    assert_eq!(pairs.remove("CORELANE_APP").unwrap(), app);
    assert_eq!(pairs.remove("CORELANE_INSTANCE").unwrap(), "0");
    for name in ["NOTIFY_SOCKET", "CORELANE_CONTROL_FD", "CORELANE_CONTROL_PID"] {
        assert!(pairs.remove(name).is_some(), "{name}");
    }
    pairs
}

/// A program that adds nothing to its environment, as a shell does.
fn sleeper(more: &str) -> String {
    format!(
        "[[apps]]\nname = \"app\"\nprogram = \"sleep\"\nargs = [\"1000\"]\n\
         restart = {{ min_uptime = \"50ms\" }}\n{more}\n"
    )
}

#[test]
fn a_program_is_given_exactly_what_was_said() {
    let world = World::new();
    world.write("vars", "FILED=first\nBOTH=file\nHOME=/elsewhere\n");
    let more = "env = { GIVEN = \"x y\", BOTH = \"env\" }\nenv_file = \"vars\"\n\
                env_inherit = [\"PATH\", \"KEPT\", \"ABSENT\"]";
    world.describe(&sleeper(more));
    let mut command = world.command(&["start", "corelane.toml"]);
    command.env("PATH", "/usr/bin:/bin").env("KEPT", "kept").env("LOST", SECRET);
    let start = begin(&mut command).end();
    assert_eq!(start.code, 0, "{}", start.err);
    let found = variables(&world, "app");
    let user = found["USER"].clone();
    let expected = [
        ("BOTH", "env"),
        ("FILED", "first"),
        ("GIVEN", "x y"),
        ("HOME", "/elsewhere"),
        ("KEPT", "kept"),
        ("LOGNAME", &user),
        ("PATH", "/usr/bin:/bin"),
        ("USER", &user),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(found, expected.map(owned).into());
    // The file is read at each start, and nobody else's environment is.
    world.write("vars", "FILED=second\n");
    let mut command = world.command(&["restart", "app"]);
    begin(command.env("KEPT", "other").env("PATH", "/")).end();
    let found = variables(&world, "app");
    assert_eq!((found["FILED"].as_str(), found["KEPT"].as_str()), ("second", "kept"));
    assert_eq!(found["PATH"], "/usr/bin:/bin");
    assert_ne!(found["HOME"], "/elsewhere");
    // Without its file it does not start, and says why.
    fs::remove_file(world.path("vars")).unwrap();
    let failed = world.exits(4, &["reload", "app"]);
    assert!(failed.err.contains("vars"), "{}", failed.err);
    assert_eq!(world.app("app")["status"], "online");
}

#[test]
fn a_program_has_no_descriptor_that_it_was_not_given() {
    let listening = "listen = [\"127.0.0.1:0\"]";
    let world = World::with(&(web("one") + &shell("app", "exec sleep 1000", listening)));
    let pid = world.pid("app");
    let given = environment(pid);
    let sockets = given.iter().find_map(|it| it.strip_prefix("LISTEN_FDS=")).unwrap();
    let sockets: usize = sockets.parse().unwrap();
    assert!(given.contains(&format!("LISTEN_PID={pid}")), "{given:?}");
    assert!(given.contains(&format!("LISTEN_FDNAMES={}", vec!["app"; sockets].join(":"))));
    assert!(given.contains(&format!("CORELANE_CONTROL_FD={}", 3 + sockets)));
    // Those, stdin, stdout and stderr, and where the manager asks.
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(open, 3 + sockets + 1);
}

#[test]
fn secrets_are_shown_only_to_who_asks_for_them() {
    let world = World::new();
    world.write("vars", &format!("FILED={SECRET}\n"));
    let more = format!(
        "env = {{ TOKEN = \"{SECRET}\" }}\nenv_file = \"vars\"\nenv_inherit = [\"INHERITED\"]"
    );
    world.describe(&shell("app", "exec sleep 1000", &more));
    let mut command = world.command(&["start", "corelane.toml"]);
    let start = begin(command.env("INHERITED", SECRET)).end();
    assert_eq!(start.code, 0, "{}", start.err);
    assert_eq!(environment(world.pid("app")).iter().filter(|it| it.ends_with(SECRET)).count(), 3);
    world.done(&["save"]);
    for args in [
        &["list", "--json"][..],
        &["describe", "app", "--json"],
        &["describe", "app"],
        &["plan", "corelane.toml"],
        &["plan", "corelane.toml", "--json"],
        &["restart", "app", "--json"],
        &["logs", "--nostream"],
    ] {
        let called = world.done(args);
        assert!(!(called.out + &called.err).contains(SECRET), "{args:?}");
    }
    let shown = world.done(&["describe", "app", "--json"]).out;
    assert!(shown.contains("\"TOKEN\": \"***\""), "{shown}");
    let shown = world.done(&["describe", "app", "--secrets", "--json"]).out;
    assert!(shown.contains(&format!("\"TOKEN\": \"{SECRET}\"")), "{shown}");
    let files = files(&world.home());
    assert!(files.iter().any(|file| file.ends_with("saved.json")), "{files:?}");
    assert!(!world.read("h/manager.log").contains(SECRET));
    assert_eq!(world.exits(0, &["kill"]).err.find(SECRET), None);
}

/// Whatever is below a home; nobody but its owner may read any of it.
fn files(home: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut left = vec![home.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let mode = about.permissions().mode() & 0o777;
        let text = path.display().to_string();
        if about.is_dir() {
            assert_eq!(mode, 0o700, "{text}");
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if about.is_file() {
            assert_eq!(mode, 0o600, "{text}");
        }
        files.push(text);
    }
    files
}
