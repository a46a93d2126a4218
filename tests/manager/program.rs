//! Programs of one's own, that embed corelane or do not.

use std::env;
use std::net::TcpListener;
use std::process::{Command, exit};

use corelane::{App, Cluster};

use super::client::{Load, get};
use super::world::{World, environment, lives, shell, until};

/// Tells this very file, as a program, what to do: where to listen, and what to answer.
const EMBEDDED: &str = "CORELANE_TEST_EMBEDDED";

/// This file as a program that embeds corelane.
fn embedding(address: &str, body: &str, more: &str) -> String {
    let program = env::current_exe().unwrap();
    format!(
        r#"
[[apps]]
name = "own"
program = "{}"
args = ["--exact", "program::is_a_program_if_it_is_told_to", "--nocapture"]
env = {{ {EMBEDDED} = "{address} {body}" }}
timeouts = {{ drain = "2s", stop = "3s", idle_grace = "50ms" }}
listen = ["{address}"]
{more}
"#,
        program.display()
    )
}

#[test]
fn is_a_program_if_it_is_told_to() {
    let Ok(told) = env::var(EMBEDDED) else { return };
    let (address, body) = told.split_once(' ').unwrap();
    let body = body.to_owned();
    if body == "broken" {
        break_down();
    }
    let app = move || {
        let body = body.clone();
        App::new().get("/", move || {
            let body = body.clone();
            async move { body }
        })
    };
    // What it comes to is said by the code that the test exits with.
    let _exit = Cluster::new(app).listen(address.to_owned()).run();
}

fn break_down() -> ! {
    let _closed = std::io::Write::write_all(&mut std::io::stderr(), b"broken on purpose\n");
    exit(3)
}

/// A port that nobody has just now.
fn free() -> String {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    held.local_addr().unwrap().to_string()
}

#[test]
fn a_program_that_embeds_corelane_is_recognised() {
    let address = free();
    let world = World::with(&embedding(&address, "one", ""));
    let (pid, listens) = (world.pid("own"), world.address("own"));
    let app = world.app("own");
    assert_eq!((app["kind"].clone(), listens.to_string()), ("program".into(), address.clone()));
    let workers = |world: &World| world.app("own")["workers"].as_array().unwrap().len();
    assert!(workers(&world) >= 1, "{app:#}");
    let load = Load::on(listens);
    for (instances, count) in [("4", 4), ("-1", 3), ("2", 2)] {
        world.done(&["scale", "own", instances]);
        assert_eq!((workers(&world), world.pid("own")), (count, pid));
        load.go_on(5);
    }
    world.done(&["reload", "own"]);
    assert!(!lives(pid));
    // So many it is to have for good.
    assert_eq!(workers(&world), 2);
    world.describe(&embedding(&address, "broken", "instances = 2"));
    let failed = world.exits(4, &["start", "corelane.toml"]);
    assert!(failed.err.contains("broken on purpose"), "{}", failed.err);
    load.go_on(5);
    assert_eq!(get(listens).unwrap(), "one");
    world.apply(&embedding(&address, "two", "instances = 3"));
    assert_eq!((get(listens).unwrap().as_str(), workers(&world)), ("two", 3));
    let pid = world.pid("own");
    world.kill_manager();
    world.done(&["start", "own"]);
    let app = world.app("own");
    assert_eq!((&app["pid"], &app["problem"]), (&pid.into(), &serde_json::Value::Null));
    world.done(&["restart", "own"]);
    load.go_on(5);
    load.end();
}

#[test]
fn a_plain_program_has_as_many_processes_as_instances() {
    let listening = "listen = [\"127.0.0.1:0\"]\ninstances = 3";
    let world = World::with(&shell("plain", "exec sleep 1000", listening));
    let pids = world.pids("plain");
    assert_eq!((pids.len(), world.units().len()), (3, 3));
    let mut numbers = Vec::new();
    for pid in &pids {
        let variables = environment(*pid);
        let value = |name: &str| {
            let found = variables.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name} in {variables:?}")).to_owned()
        };
        assert_eq!(value("LISTEN_PID"), pid.to_string());
        assert!(value("LISTEN_FDS").parse::<usize>().unwrap() >= 1);
        numbers.push(value("CORELANE_INSTANCE"));
    }
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2"]);
    for (instances, count) in [("5", 5), ("-3", 2), ("+1", 3)] {
        world.done(&["scale", "plain", instances]);
        assert_eq!(world.pids("plain").len(), count, "{instances}");
        until("so many are left", || world.units().len() == count);
    }
    let before = world.pids("plain");
    world.done(&["reload", "plain"]);
    let after = world.pids("plain");
    assert!(after.len() == 3 && after.iter().all(|pid| !before.contains(pid)), "{after:?}");
    world.done(&["stop", "plain"]);
    assert!(world.units().is_empty());
}

/// Serves at the first socket, and says when it is ready.
pub(crate) const PYTHON: &str = r#"
import os, socket, sys
name = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
assert int(os.environ["LISTEN_PID"]) == os.getpid()
sockets = [socket.socket(fileno=3 + number) for number in range(int(os.environ["LISTEN_FDS"]))]
while not os.path.exists("go"):
    pass
if sys.argv[1] == "one":
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1\nSTATUS=well", name)
import selectors
wait = selectors.DefaultSelector()
for one in sockets:
    one.setblocking(False)
    wait.register(one, selectors.EVENT_READ)
while True:
    for key, _ in wait.select():
        try:
            peer, _ = key.fileobj.accept()
        except BlockingIOError:
            continue
        peer.setblocking(True)
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + sys.argv[1].encode())
        peer.close()
"#;

/// Where Python is, if it is anywhere.
pub(crate) fn python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = output.ok().filter(|output| output.status.success())?.stdout;
    Some(String::from_utf8(path).ok()?.trim().to_owned())
}

#[test]
fn a_plain_program_says_itself_when_it_is_ready() {
    let Some(python) = python() else {
        return skipped("a program that notifies: there is no python3");
    };
    let config = |body: &str| {
        format!(
            "[[apps]]\nname = \"py\"\nprogram = \"{python}\"\nargs = [\"server.py\", \"{body}\"]\n\
             listen = [\"127.0.0.1:0\"]\nrestart = {{ min_uptime = \"1h\" }}\n\
             timeouts = {{ ready = \"10s\" }}\n"
        )
    };
    let world = World::new();
    world.write("server.py", PYTHON);
    world.describe(&config("one"));
    let start = world.begin(&["start", "corelane.toml"]);
    until("it is launched", || {
        world.path("h/control.sock").exists() && world.app("py")["pid"].is_u64()
    });
    assert_eq!(world.app("py")["status"], "launching");
    world.write("go", "");
    assert_eq!(start.end().code, 0);
    assert_eq!(world.app("py")["status"], "online");
    let address = world.address("py");
    assert_eq!(get(address).unwrap(), "one");
    // One that is known to say it is waited for, and not for its uptime.
    let quick = config("two").replace("1h", "1ms").replace("10s", "500ms");
    world.describe(&quick);
    let start = world.exits(4, &["start", "corelane.toml"]);
    assert!(start.err.contains("not ready within 500ms"), "{}", start.err);
    world.kill_manager();
    world.done(&["start", "py"]);
    assert_eq!((world.address("py"), get(address).unwrap().as_str()), (address, "one"));
}

/// Says what was not tried.
pub(crate) fn skipped(what: &str) {
    let text = format!("not tried: {what}\n");
    let _closed = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
