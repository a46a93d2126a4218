//! The manager as a service of systemd, which these tests play: it hears, keeps and passes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

use super::client::{Load, answer, get, is_refused, send};
use super::passing::{START, place};
use super::program::{PYTHON, python};
use super::world::{World, lives, shell, signal, until, web};

/// What plays systemd for a world's manager.
struct Systemd<'a> {
    world: &'a World,
    heard: Arc<Mutex<Heard>>,
    /// The sockets of socket units, and the name of the unit.
    units: Vec<(TcpListener, &'static str)>,
    manager: Option<Child>,
    env: Vec<(&'static str, &'static str)>,
}

/// What it has heard, and been given to keep.
#[derive(Default)]
struct Heard {
    messages: Vec<String>,
    kept: BTreeMap<String, OwnedFd>,
    /// How long it takes to close what it is to give up.
    lag: Duration,
}

impl<'a> Systemd<'a> {
    fn of(world: &'a World) -> Self {
        let socket = UnixDatagram::bind(world.path("notify")).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let into = Arc::clone(&heard);
        // It ends with the process.
        thread::spawn(move || while hear(&socket, &into).is_some() {});
        Self { world, heard, units: Vec::new(), manager: None, env: Vec::new() }
    }

    /// Starts the manager, and waits until it is ready.
    fn start(&mut self) {
        self.launch();
        self.await_message("READY=1");
    }

    fn launch(&mut self) {
        self.heard.lock().unwrap().messages.clear();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", START, env!("CARGO_BIN_EXE_corelane"), "daemon"]).env_clear();
        command.env("CORELANE_HOME", self.world.home()).current_dir(self.world.dir());
        command.env("NOTIFY_SOCKET", self.world.path("notify"));
        command.envs(self.env.iter().copied());
        let log = File::options().create(true).append(true).open(self.world.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let heard = self.heard.lock().unwrap();
        let units = self.units.iter().map(|(socket, name)| (socket.as_fd(), *name));
        let kept = heard.kept.iter().map(|(name, socket)| (socket.as_fd(), name.as_str()));
        let (sockets, names): (Vec<_>, Vec<_>) = units.chain(kept).unzip();
        if !sockets.is_empty() {
            command.env("LISTEN_FDS", sockets.len().to_string());
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
        place(&mut command, sockets);
        self.manager = Some(command.spawn().unwrap());
    }

    /// Ends the manager without a warning.
    fn kill(&mut self) {
        let mut manager = self.manager.take().unwrap();
        manager.kill().unwrap();
        manager.wait().unwrap();
    }

    fn messages(&self) -> Vec<String> {
        self.heard.lock().unwrap().messages.clone()
    }

    #[track_caller]
    fn await_message(&self, line: &str) {
        let is = |message: &String| message.lines().any(|other| other == line);
        until(&format!("{line} is heard"), || self.messages().iter().any(is));
    }

    /// Whose sockets it keeps.
    fn kept(&self) -> Vec<String> {
        let app = |name: &String| name.split('@').next().unwrap().to_owned();
        let mut apps: Vec<_> = self.heard.lock().unwrap().kept.keys().map(app).collect();
        apps.dedup();
        apps
    }
}

impl Drop for Systemd<'_> {
    fn drop(&mut self) {
        if let Some(mut manager) = self.manager.take() {
            let _ended = manager.kill();
            let _reaped = manager.wait();
        }
        if thread::panicking() {
            let log = self.world.read("log");
            let _closed = std::io::Write::write_all(&mut std::io::stderr(), log.as_bytes());
        }
    }
}

/// Takes in a message; none if there come no more.
fn hear(socket: &UnixDatagram, heard: &Mutex<Heard>) -> Option<()> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            sockets.extend(passed);
        }
    }
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    let line = |wanted: &str| text.lines().any(|line| line == wanted);
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
    if line("FDSTOREREMOVE=1") {
        let lag = heard.lock().unwrap().lag;
        thread::sleep(lag);
    }
    let mut heard = heard.lock().unwrap();
    match (line("FDSTORE=1"), line("FDSTOREREMOVE=1")) {
        (true, _) => drop(heard.kept.insert(name.unwrap(), sockets.pop().unwrap())),
        (_, true) => drop(heard.kept.remove(&name.unwrap())),
        _ => {}
    }
    heard.messages.push(text);
    Some(())
}

/// A port that nobody has just now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn what_systemd_keeps_outlives_the_manager_and_the_apps() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    systemd.start();
    let mut config = web("one");
    let mut names = vec!["web"];
    if let Some(python) = python() {
        world.write("server.py", PYTHON);
        world.write("go", "");
        let own = format!(
            "[[apps]]\nname = \"py\"\nprogram = \"{python}\"\nargs = [\"server.py\", \"one\"]\n\
             listen = [\"127.0.0.1:0\"]\ninstances = 2\n"
        );
        config.push_str(&own);
        names.insert(0, "py");
    }
    world.apply(&config);
    until("they are kept", || systemd.kept() == names);
    for _ in 0..2 {
        let addresses: Vec<_> = names.iter().map(|name| world.address(name)).collect();
        let pids: Vec<_> = names.iter().flat_map(|name| world.pids(name)).collect();
        systemd.kill();
        for pid in &pids {
            signal(*pid, Signal::KILL);
        }
        until("all have ended", || !pids.iter().any(|pid| lives(*pid)));
        let waiting: Vec<_> =
            (0..40).map(|at| send(addresses[at % names.len()]).unwrap()).collect();
        systemd.start();
        for stream in waiting {
            assert_eq!(answer(stream).unwrap(), "one");
        }
        let now: Vec<_> = names.iter().map(|name| world.address(name)).collect();
        assert_eq!((now, systemd.kept()), (addresses, names.iter().map(|&it| it.into()).collect()));
    }
    // Those that run on are taken over, and nobody notices.
    let (address, pids) = (world.address("web"), world.pids(names[0]));
    let load = Load::on(address);
    systemd.kill();
    load.go_on(20);
    systemd.start();
    assert_eq!(world.pids(names[0]), pids);
    assert_eq!(world.app(names[0])["problem"], serde_json::Value::Null);
    world.done(&["reload", "all"]);
    load.go_on(20);
    load.end();
    for (at, name) in names.iter().enumerate() {
        let address = world.address(name);
        world.done(&[["stop", "delete"][at % 2], name]);
        until("they are given up", || !systemd.kept().iter().any(|other| other == name));
        is_refused(address);
    }
}

#[test]
fn what_was_stopped_while_nobody_could_say_so_is_given_up() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    systemd.start();
    world.apply(&web("one"));
    let address = world.address("web");
    until("it is kept", || systemd.kept() == ["web"]);
    let socket = systemd.heard.lock().unwrap().kept.pop_first().unwrap();
    world.done(&["stop", "web"]);
    systemd.heard.lock().unwrap().kept.extend([socket]);
    systemd.kill();
    systemd.start();
    until("it is given up", || systemd.kept().is_empty());
    is_refused(address);
}

#[test]
fn an_address_is_bound_anew_when_systemd_has_let_it_go() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    systemd.start();
    let address = free();
    world.apply(&web("one").replace("127.0.0.1:0", &address.to_string()));
    until("it is kept", || systemd.kept() == ["web"]);
    systemd.heard.lock().unwrap().lag = Duration::from_millis(100);
    for _ in 0..2 {
        world.done(&["stop", "web"]);
        world.done(&["start", "web"]);
        assert_eq!(get(address).unwrap(), "one");
        until("it is kept again", || systemd.kept() == ["web"]);
    }
}

#[test]
fn sockets_of_a_socket_unit_go_to_the_apps_that_listen_there() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    for name in ["web.socket", "stray"] {
        systemd.units.push((TcpListener::bind("127.0.0.1:0").unwrap(), name));
    }
    let [address, stray] = [0, 1].map(|at| systemd.units[at].0.local_addr().unwrap());
    let waiting = send(address).unwrap();
    systemd.start();
    let problems = || world.list()["manager"]["problems"].to_string();
    assert!(problems().contains(&format!("no app listens at {address}, which is descriptor 3")));
    let listening = format!("\"{address}\", \"127.0.0.1:0\"");
    world.apply(&web("one").replace("\"127.0.0.1:0\"", &listening));
    assert_eq!(answer(waiting).unwrap(), "one");
    let text = problems();
    let expected = format!("no app listens at {stray}, which is descriptor 4 (stray): ");
    assert!(text.contains(&expected) && !text.contains(&address.to_string()), "{text}");
    // Only the other address is one that the manager has bound itself.
    until("it is kept", || systemd.kept() == ["web"]);
    let own = world.app("web")["listen"][1].as_str().unwrap().to_owned();
    let kept = |systemd: &Systemd<'_>| {
        let heard = systemd.heard.lock().unwrap();
        let sockets = heard.kept.values().map(|socket| socket.try_clone().unwrap());
        let at = |socket| TcpListener::from(socket).local_addr().unwrap().to_string();
        sockets.map(at).all(|at| at != address.to_string())
    };
    assert!(kept(&systemd));
    let load = Load::on(address);
    systemd.kill();
    load.go_on(10);
    systemd.start();
    world.done(&["reload", "web"]);
    world.done(&["upgrade"]);
    load.go_on(10);
    load.end();
    // What the unit holds is not closed by a stop: clients wait for the next start.
    world.done(&["stop", "web"]);
    until("the manager's own is given up", || systemd.kept().is_empty());
    is_refused(own.parse().unwrap());
    let waiting = send(address).unwrap();
    world.done(&["start", "web"]);
    assert_eq!(answer(waiting).unwrap(), "one");
    assert!(kept(&systemd));
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_a_warning() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    let name = "web@1f".to_owned();
    let file = File::open("/dev/null").unwrap();
    systemd.heard.lock().unwrap().kept.insert(name, file.into());
    systemd.start();
    let log = world.read("log");
    assert!(log.contains("descriptor 3 (web@1f) is no socket, not a listening"), "{log}");
    world.apply(&web("one"));
    assert_eq!(get(world.address("web")).unwrap(), "one");
}

#[test]
fn ready_is_said_when_the_apps_are_up_or_have_failed() {
    let slow = shell("slow", "exec sleep 1000", "restart = { min_uptime = \"400ms\" }");
    let broken = shell(
        "broken",
        "test ! -e broken || exit 3; exec sleep 1000",
        "restart = { policy = \"never\" }",
    );
    let world = World::with(&(slow + &broken));
    world.done(&["kill"]);
    world.write("broken", "");
    let mut systemd = Systemd::of(&world);
    systemd.start();
    let status = |name: &str| world.app(name)["status"].clone();
    assert_eq!((status("slow"), status("broken")), ("online".into(), "stopped".into()));
    systemd.await_message("STATUS=2 apps, 1 online, 1 stopped");
    let messages = systemd.messages();
    let at = |line: &str| messages.iter().position(|text| text.lines().any(|it| it == line));
    assert!(at("READY=1") > at("EXTEND_TIMEOUT_USEC=60000000"), "{messages:?}");
    let pid = format!("MAINPID={}", world.manager());
    assert_eq!(at("READY=1"), at(&pid), "{messages:?}");
    // One that becomes another version is not one that ends.
    systemd.heard.lock().unwrap().messages.clear();
    world.done(&["upgrade"]);
    systemd.await_message("READY=1");
    assert!(systemd.messages()[0].starts_with("RELOADING=1\nMONOTONIC_USEC="));
    systemd.heard.lock().unwrap().messages.clear();
    world.done(&["kill"]);
    systemd.await_message("STOPPING=1");
    assert!(!systemd.messages().iter().any(|text| text.contains("READY=1")));
}

#[test]
fn the_watchdog_is_fed_as_long_as_the_manager_turns() {
    let world = World::new();
    let mut systemd = Systemd::of(&world);
    systemd.env.push(("WATCHDOG_USEC", "200000"));
    systemd.start();
    let beats = || systemd.messages().iter().filter(|text| text.contains("WATCHDOG=1")).count();
    let before = beats();
    until("it goes on", || beats() >= before + 3);
}

#[test]
fn a_manager_that_is_told_to_end_leaves_all_as_it_is() {
    let world = World::new();
    let path = world.path("web.sock");
    let mut systemd = Systemd::of(&world);
    systemd.start();
    let listening = format!("\"unix:{}\", \"127.0.0.1:0\"", path.display());
    world.apply(&web("one").replace("\"127.0.0.1:0\"", &listening));
    let pid = world.pid("web");
    signal(world.manager(), Signal::TERM);
    systemd.await_message("STOPPING=1");
    assert!(systemd.manager.take().unwrap().wait().unwrap().success());
    let mut stream = UnixStream::connect(&path).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    assert_eq!(answer(stream).unwrap(), "one");
    systemd.start();
    assert_eq!(world.pid("web"), pid);
}
