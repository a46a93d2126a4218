//! What a service manager does for the manager: it hears that it is ready, keeps the apps' sockets
//! for its successor, and listens on some itself. It is played by the test.

use std::fs;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

use super::world::{PATIENCE, World, signal, until};

/// Hears what the manager says.
struct Boot {
    socket: UnixDatagram,
    manager: Child,
}

/// A message, and the descriptor that came with it.
struct Heard {
    text: String,
    socket: Option<OwnedFd>,
}

impl Boot {
    /// Starts a manager, and passes it a socket by this name.
    fn start(world: &World, passed: Option<(&str, OwnedFd)>) -> Self {
        let path = world.path("notify");
        let _none = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = world.command(&["daemon", "--adopt"]);
        let corelane = command.get_program().to_owned();
        // Only a shell knows in time which process it will be.
        let script = "export LISTEN_PID=$$; exec \"$0\" daemon --adopt 3<&0 </dev/null";
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", script]).arg(corelane).current_dir(world.dir()).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
        if let Some((name, socket)) = passed {
            shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).stdin(socket);
            command = shell;
        } else {
            command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
        }
        let boot = Self { manager: command.spawn().unwrap(), socket };
        boot.hear("READY=1");
        boot
    }

    /// The next message with this in it.
    #[track_caller]
    fn hear(&self, part: &str) -> Heard {
        loop {
            let heard = self.next();
            if heard.text.contains(part) {
                return heard;
            }
        }
    }

    fn next(&self) -> Heard {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let length = recvmsg(&self.socket, &mut parts, &mut control, flags).unwrap().bytes;
        let mut socket = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut passed) = message {
                socket = passed.next();
            }
        }
        Heard { text: String::from_utf8(bytes[..length].to_vec()).unwrap(), socket }
    }

    /// Kills it, so that it can save nothing.
    fn kill(mut self) {
        self.manager.kill().unwrap();
        self.manager.wait().unwrap();
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ended = self.manager.kill();
        let _reaped = self.manager.wait();
    }
}

fn config(world: &World, body: &str) -> String {
    let path = world.path("web.sock").display().to_string();
    format!(
        "[[apps]]\nname = \"web\"\nlisten = [\"unix:{path}\"]\n\
         timeouts = {{ drain = \"1s\", stop = \"2s\", idle_grace = \"10ms\" }}\n\
         routes = [{{ path = \"/\", respond = {{ body = \"{body}\" }} }}]\n"
    )
}

/// Asks, and does not wait for the answer.
fn ask(world: &World) -> UnixStream {
    let mut stream = UnixStream::connect(world.path("web.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream
}

#[track_caller]
fn answers(stream: UnixStream, body: &str) {
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.ends_with(body), "{answer}");
}

#[test]
fn sockets_outlive_manager_and_app_with_whoever_keeps_them() {
    let world = World::new();
    let boot = Boot::start(&world, None);
    world.apply(&config(&world, "one"));
    let Heard { text, socket } = boot.hear("FDSTORE=1");
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap();
    assert!(name.starts_with("corelane-0-") && text.contains("FDPOLL=0"), "{text}");
    let app = world.pid("web");
    boot.kill();
    signal(app, Signal::KILL);
    until("the app is gone", || !fs::exists(format!("/proc/{app}/cmdline")).unwrap());
    // Nobody is there, and yet nobody is refused.
    let waiting = ask(&world);
    let boot = Boot::start(&world, Some((name, socket.unwrap())));
    answers(waiting, "one");
    world.await_status("web", "online");
    world.done(&["reload", "web"]);
    answers(ask(&world), "one");
    // Once it is stopped nobody is to keep it open: who connects would wait in vain.
    world.done(&["stop", "web"]);
    assert!(boot.hear("FDSTOREREMOVE=1").text.contains(&format!("FDNAME={name}\n")));
    world.done(&["kill"]);
    boot.hear("STOPPING=1");
}

#[test]
fn an_app_listens_on_what_a_socket_unit_has_passed() {
    let world = World::new();
    let listener = UnixListener::bind(world.path("web.sock")).unwrap();
    let passed = listener.try_clone().unwrap().into();
    let waiting = ask(&world);
    let boot = Boot::start(&world, Some(("web.socket", passed)));
    world.apply(&config(&world, "one"));
    answers(waiting, "one");
    // It goes on to listen, whatever becomes of the app, and the next start finds it again.
    world.done(&["stop", "web"]);
    let waiting = ask(&world);
    world.done(&["upgrade"]);
    world.done(&["start", "web"]);
    answers(waiting, "one");
    world.done(&["kill"]);
    assert!(world.path("web.sock").exists(), "the path is the unit's");
    drop(boot);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
