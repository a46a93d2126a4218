//! What a service manager passes to a program, and what it hears: the parts of systemd are played
//! by the tests, and once by a tool of its own.

use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use corelane::{Address, App, Cluster};
use rustix::process::Signal;

use super::passing::{START, place};
use super::{APP, PATIENCE, Running, ask, connect, fails, get, listening, run};

/// Tells the child of a test what it is, and where to listen.
const EMBEDDED: &str = "CORELANE_TEST_EMBEDDED";

/// Has the command start with these sockets, as a service manager would.
fn pass(command: &mut Command, sockets: &[&dyn AsFd], names: &str) {
    let program = mem::replace(command, Command::new("/bin/sh"));
    command.args(["-c", START]).arg(program.get_program()).args(program.get_args());
    command.env_clear().stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    if let Some(dir) = program.get_current_dir() {
        command.current_dir(dir);
    }
    command.env("LISTEN_FDS", sockets.len().to_string());
    if !names.is_empty() {
        command.env("LISTEN_FDNAMES", names);
    }
    place(command, sockets.iter().map(|socket| socket.as_fd()));
}

fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// [`APP`] at another address.
fn app_at(address: &str) -> String {
    APP.replace("127.0.0.1:0", address)
}

#[track_caller]
fn answer(mut stream: impl Read) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Ends it by SIGTERM.
#[track_caller]
fn stop(running: &mut Running) {
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}

#[test]
fn what_waits_in_a_passed_socket_is_served_and_the_socket_outlives_the_program() {
    let (listener, address) = tcp();
    let file = app_at(&address.to_string());
    for _ in 0..2 {
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = connect(address);
                stream.write_all(get("/").as_bytes()).unwrap();
                stream
            })
            .collect();
        let mut running =
            Running::prepared(Some(&file), &[], |it| pass(it, &[&listener], "shop.socket"));
        assert_eq!(running.one_worker(), address);
        for stream in waiting {
            assert!(answer(stream).ends_with("\r\n\r\nshop"));
        }
        assert!(ask(address, &get("/")).ends_with("\r\n\r\nshop"));
        stop(&mut running);
    }
    let _queued = connect(address);
    drop(listener);
    assert!(TcpStream::connect(address).is_err(), "somebody else holds the socket");
}

#[test]
fn workers_share_a_passed_socket() {
    let (listener, address) = tcp();
    let file = app_at(&address.to_string()).replace("instances = 1", "instances = 3");
    let mut running = Running::prepared(Some(&file), &[], |it| pass(it, &[&listener], ""));
    assert_eq!(running.banner().1, address);
    while !running.line().starts_with("worker 2 on CPU ") {}
    assert_eq!(listening(address), 1);
    for _ in 0..30 {
        assert!(ask(address, &get("/")).ends_with("shop"));
    }
    stop(&mut running);
}

#[test]
fn a_passed_unix_socket_keeps_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let file = app_at(&format!("unix:{}", path.display()));
    let mut waiting = UnixStream::connect(&path).unwrap();
    waiting.write_all(get("/").as_bytes()).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut running = Running::prepared(Some(&file), &[], |it| pass(it, &[&listener], ""));
    assert!(answer(waiting).ends_with("shop"));
    stop(&mut running);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn each_app_takes_its_own() {
    let ((first, shop), (second, admin)) = (tcp(), tcp());
    let app = app_at(&admin.to_string()).replace("shop", "admin");
    let file = format!("{}{app}", app_at(&shop.to_string()));
    let mut running = Running::prepared(Some(&file), &[], |it| pass(it, &[&second, &first], "x:y"));
    for (name, address) in [("shop", shop), ("admin", admin)] {
        assert_eq!(running.banner().1, address);
        running.line();
        assert!(ask(address, &get("/")).ends_with(name));
    }
    stop(&mut running);
}

#[test]
fn metrics_have_a_passed_socket_like_any_other() {
    let ((listener, address), (other, metrics)) = (tcp(), tcp());
    let file = app_at(&address.to_string())
        .replace("instances = 1", &format!("instances = 1\nmetrics = \"{metrics}\""));
    let running = Running::prepared(Some(&file), &[], |it| pass(it, &[&listener, &other], ""));
    assert_eq!(running.banner().1, address);
    running.expect(&format!("metrics: http://{metrics}/metrics"));
    running.line();
    assert_eq!(listening(metrics), 1);
    let text = ask(metrics, &get("/metrics"));
    assert!(text.contains("corelane_worker_up{app=\"shop\",worker=\"0\"} 1\n"), "{text}");
    let alone = run(&["run"], Some(&file), |it| pass(it, &[&listener], ""));
    fails(&alone, 1, &[&format!("cannot listen on {metrics}"), "passed no socket for it"]);
}

#[test]
fn what_was_passed_to_another_process_is_none_of_its_business() {
    let (listener, passed) = tcp();
    let mut running = Running::prepared(Some(APP), &[], |it| {
        it.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
        place(it, [listener.as_fd()]);
    });
    let address = running.one_worker();
    assert_ne!(address, passed);
    assert!(ask(address, &get("/")).ends_with("shop"));
    stop(&mut running);
}

#[test]
fn addresses_and_passed_sockets_that_do_not_fit_are_refused() {
    let ((listener, passed), (held, other)) = (tcp(), tcp());
    let sockets: [&dyn AsFd; 1] = [&listener];
    let it_passed = format!("it passed: {passed} (descriptor 3 (web)); hint: ");
    let missing = format!("error: cannot listen on {other}: the service manager passed no socket");
    let output = run(&[], Some(&app_at(&other.to_string())), |it| pass(it, &sockets, "web"));
    fails(&output, 1, &[&missing, &it_passed]);
    let output = run(&[], Some(APP), |it| pass(it, &sockets, "web"));
    fails(&output, 1, &["error: cannot listen on 127.0.0.1:0: ", "port 0", &it_passed]);

    let both = app_at(&passed.to_string());
    let output = run(&[], Some(&both), |it| pass(it, &[&listener, &held], "web:spare"));
    let unasked = format!("sockets that nobody listens on: {other} (descriptor 4 (spare)); hint: ");
    fails(&output, 1, &["error: the service manager passed ", &unasked]);
}

#[test]
fn what_cannot_be_taken_is_refused() {
    let (listener, address) = tcp();
    let client = connect(address);
    let file = app_at(&address.to_string());
    let output = run(&[], Some(&file), |it| pass(it, &[&listener, &client], "web:bad"));
    fails(&output, 1, &["error: ", "descriptor 4 (bad) is a socket that does not listen", "hint"]);
    let output = run(&[], Some(&file), |it| {
        pass(it, &[&listener], "");
        it.env("LISTEN_FDS", "9");
    });
    fails(&output, 1, &["error: ", " is not open; hint: "]);
    let output = run(&[], Some(&file), |it| {
        pass(it, &[&listener], "");
        it.env("LISTEN_FDS", "one");
    });
    fails(&output, 1, &["error: ", "LISTEN_FDS is `one`", "hint: "]);
}

/// The child's part: a cluster that is embedded takes what was passed only if asked.
fn embed(passed: &str) {
    let passed: Address = passed.parse().unwrap();
    let app = || App::new().get("/", async || "embedded");
    let own = Cluster::new(app).listen("127.0.0.1:0").instances(1).spawn().unwrap();
    let cluster = || Cluster::new(app).listen(passed.clone()).instances(1).inherit_listeners();
    let missing = cluster().listen("127.0.0.1:1").spawn().unwrap_err().to_string();
    assert!(missing.contains("passed no socket for it"), "{missing}");
    let inherited = cluster().spawn().unwrap();
    for handle in [own, inherited] {
        let Address::Tcp(address) = handle.addresses()[0] else { panic!("a Unix address") };
        assert!(ask(address, &get("/")).ends_with("embedded"));
        handle.shutdown().unwrap();
    }
    let again = cluster().spawn().unwrap_err().to_string();
    assert!(again.contains(", taken)"), "{again}");
}

#[test]
fn an_embedded_cluster_inherits_only_if_asked() {
    if let Ok(passed) = env::var(EMBEDDED) {
        return embed(&passed);
    }
    let (listener, address) = tcp();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "inherit::an_embedded_cluster_inherits_only_if_asked"]);
    command.env(EMBEDDED, address.to_string());
    pass(&mut command, &[&listener], "");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// What a service manager hears.
struct Ear(UnixDatagram);

impl Ear {
    #[track_caller]
    fn hear(&self) -> String {
        let mut buffer = [0; 4096];
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = self.0.recv(&mut buffer).expect("it tells in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// What has been said and not been heard.
    fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        self.0.set_nonblocking(true).unwrap();
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => rest.push(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return rest,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// An ear at a path.
fn ear(dir: &Path) -> (Ear, String) {
    let path = dir.join("notify");
    (Ear(UnixDatagram::bind(&path).unwrap()), path.display().to_string())
}

#[test]
fn a_manager_hears_when_it_serves_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("corelane-test-run-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let abstractly = Ear(UnixDatagram::bind_addr(&address).unwrap());
    for (ear, socket) in [ear(dir.path()), (abstractly, format!("@{name}"))] {
        let mut running = Running::prepared(Some(APP), &[], |it| {
            it.env("NOTIFY_SOCKET", &socket);
        });
        let ready = ear.hear();
        let address = running.one_worker();
        let expected = format!(
            "READY=1\nSTATUS=1 of 1 workers listening, http://{address}\nMAINPID={}\n",
            running.child.id()
        );
        assert_eq!(ready, expected);
        let open = super::begin(address);
        running.signal(Signal::TERM);
        // It says so while what is open may still end.
        assert_eq!(ear.hear(), "STOPPING=1\nSTATUS=draining\n");
        drop(open);
        assert_eq!(running.code(), 0);
        assert_eq!(ear.rest(), [""; 0]);
    }
}

#[test]
fn a_manager_does_not_hear_ready_of_what_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    let (ear, socket) = ear(dir.path());
    let (_held, taken) = tcp();
    let output = run(&[], Some(&app_at(&taken.to_string())), |it| {
        it.env("NOTIFY_SOCKET", &socket);
    });
    fails(&output, 1, &["already in use"]);
    assert_eq!(ear.rest(), [""; 0]);
}

#[test]
fn a_manager_that_cannot_be_told_is_no_reason_not_to_serve() {
    let mut running = Running::prepared(Some(APP), &[], |it| {
        it.env("NOTIFY_SOCKET", "/nowhere/notify").env("WATCHDOG_USEC", "soon");
    });
    let address = running.one_worker();
    assert!(running.line().starts_with("warning: no watchdog: WATCHDOG_USEC is `soon`"));
    assert!(running.line().starts_with("warning: cannot tell the service manager: "));
    assert!(ask(address, &get("/")).ends_with("shop"));
    stop(&mut running);
}

#[test]
fn the_watchdog_of_a_manager_is_fed() {
    let dir = tempfile::tempdir().unwrap();
    let (ear, socket) = ear(dir.path());
    let begun = Instant::now();
    let mut running = Running::prepared(Some(APP), &[], |it| {
        it.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000");
    });
    assert!(ear.hear().starts_with("READY=1\n"));
    for _ in 0..4 {
        assert_eq!(ear.hear(), "WATCHDOG=1\n");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(600), "not more often than half of it: {took:?}");
    stop(&mut running);
}

#[test]
fn the_watchdog_of_another_process_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (ear, socket) = ear(dir.path());
    let mut running = Running::prepared(Some(APP), &[], |it| {
        it.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000").env("WATCHDOG_PID", "1");
    });
    assert!(ear.hear().starts_with("READY=1\n"));
    stop(&mut running);
    assert_eq!(ear.rest(), ["STOPPING=1\nSTATUS=draining\n"]);
}

/// On a machine that has systemd's own tool: the same from its side.
#[test]
fn systemd_activates_it() {
    const TOOL: &str = "/usr/bin/systemd-socket-activate";
    if !Path::new(TOOL).exists() {
        return;
    }
    let (free, address) = tcp();
    drop(free);
    let file = app_at(&address.to_string());
    let mut running = Running::prepared(Some(&file), &[], |it| {
        let program = mem::replace(it, Command::new(TOOL));
        it.args(["--listen", &address.to_string(), "--fdname", "shop"]);
        it.arg(program.get_program()).current_dir(program.get_current_dir().unwrap());
    });
    // It starts the program when somebody connects.
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "it listens");
        thread::yield_now();
    }
    assert!(ask(address, &get("/")).ends_with("shop"));
    let program = fs::read_link(running.proc("exe")).unwrap();
    assert_eq!(program, Path::new(env!("CARGO_BIN_EXE_corelane")));
    assert_eq!(listening(address), 1);
    stop(&mut running);
}
