//! What has grown too large. It is looked for every few seconds.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use super::world::{World, shell, until, web};

const ROTATION: &str = "logs = { rotate_bytes = \"4KiB\", keep = 2 }\n";

#[test]
fn a_log_of_a_built_in_app_is_put_aside_and_written_on_elsewhere() {
    let config = web("one").replace("routes =", &format!("{ROTATION}routes ="));
    let world = World::with(&config);
    let pid = world.pid("web");
    let path = world.path("h/logs/web.err.log");
    let mut log = fs::File::options().append(true).open(&path).unwrap();
    log.write_all("as many lines as it takes\n".repeat(200).as_bytes()).unwrap();
    until("it is put aside", || world.path("h/logs/web.err.log.1").exists());
    until("there is a new one", || path.exists());
    assert!(world.read("h/logs/web.err.log.1").ends_with("as it takes\n"));
    // It has been told, and not been restarted.
    world.done(&["scale", "web", "3"]);
    until("it writes to the new one", || {
        world.read("h/logs/web.err.log").contains("now 3 workers")
    });
    assert_eq!(world.pid("web"), pid);
    assert!(!world.read("h/logs/web.err.log.1").contains("now 3 workers"));
}

#[test]
fn a_log_of_a_plain_program_is_copied_and_emptied() {
    let script = "while :; do echo a line of some length, to be written often; sleep 0.01; done";
    let world = World::with(&shell("chatty", script, ROTATION));
    let pid = world.pid("chatty");
    let aside = || world.read("h/logs/chatty.out.log.1");
    until("it is put aside", || aside().len() > 4096);
    assert!(aside().lines().all(|line| line == "a line of some length, to be written often"));
    let grows = || !world.read("h/logs/chatty.out.log").is_empty();
    until("it writes on", grows);
    // What is written on begins where the file does: there is no hole before it.
    assert!(world.read("h/logs/chatty.out.log").starts_with("a line"));
    assert_eq!(world.pid("chatty"), pid);
    let last = || world.done(&["logs", "chatty", "--nostream", "--lines", "2"]).out;
    until("the last lines are shown", || last().lines().count() == 2);
}

#[test]
fn of_an_app_that_fails_the_last_lines_are_shown_wherever_it_writes_them() {
    let world = World::new();
    for (script, shown, not) in [
        ("echo on stdout; exit 3", "    on stdout\n", "stderr"),
        ("echo on stdout; echo on stderr >&2; exit 3", "    on stderr\n", "stdout"),
    ] {
        world.describe(&shell("bad", script, ""));
        let called = world.exits(1, &["start", "corelane.toml"]);
        assert!(called.err.contains("exited with code 3"), "{}", called.err);
        assert!(called.err.contains(shown) && !called.err.contains(not), "{}", called.err);
        world.done(&["delete", "bad"]);
    }
}

#[test]
fn requests_of_a_built_in_app_are_logged_if_that_is_asked_for() {
    let more = "trust_proxy = 1\nlogs = { access = \"json\" }\nroutes =";
    let world = World::with(&web("one").replace("routes =", more));
    let mut stream = TcpStream::connect(world.address("web")).unwrap();
    let request = "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n";
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let log = || world.read("h/logs/web.out.log");
    until("it is logged", || log().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(log().lines().next().unwrap()).unwrap();
    assert_eq!((&line["client"], &line["status"]), (&"192.0.2.7".into(), &404.into()), "{line}");
    world.apply(&web("one"));
    let until_now = log().len();
    drop(TcpStream::connect(world.address("web")).unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n"));
    world.done(&["stop", "web"]);
    assert_eq!(log().len(), until_now, "and no longer");
}
