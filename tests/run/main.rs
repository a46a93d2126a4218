//! `corelane run` as a process: who runs where, what is answered, and how it ends.
#![cfg(feature = "cli")]
#![expect(unsafe_code, reason = "a command is prepared between fork and exec")]
#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failure of the test")]

mod faults;
mod inherit;
#[path = "../shared/passing.rs"]
mod passing;
mod programs;
mod reload;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// Whatever takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One worker, and routes of each kind.
const APP: &str = r#"
[[apps]]
name = "shop"
listen = ["127.0.0.1:0"]
instances = 1
routes = [
    { path = "/", respond = { status = 203, body = "shop", headers = { x-by = "test" } } },
    { path = "/old", redirect = { to = "/new", status = 301 } },
    { path = "/echo", echo = {} },
]
"#;

/// A request whose answer is on its way, but not whole before the client says more.
const BEGUN: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";

/// A `corelane run` in a directory of its own, killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    dir: TempDir,
}

impl Running {
    /// Runs the file, or the embedded default, on a free port.
    fn start(file: Option<&str>, args: &[&str]) -> Self {
        Self::prepared(file, args, |_| {})
    }

    /// As [`start`](Self::start), with a last word on the command.
    fn prepared(file: Option<&str>, args: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path(), args);
        if let Some(text) = file {
            fs::write(dir.path().join("corelane.toml"), text).unwrap();
        }
        prepare(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Self { child, lines, dir }
    }

    /// The next line that it prints.
    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints a line in time")
    }

    #[track_caller]
    fn expect(&self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// The banner, and where it says to listen.
    #[track_caller]
    fn banner(&self) -> (String, SocketAddr) {
        let banner = self.line();
        let (_, rest) = banner.split_once("http://").unwrap_or_else(|| panic!("{banner}"));
        let address = rest.split(',').next().unwrap().parse().unwrap();
        (banner, address)
    }

    /// Where it listens, once its only worker does.
    #[track_caller]
    fn one_worker(&self) -> SocketAddr {
        let (_, address) = self.banner();
        let line = self.line();
        assert!(line.starts_with("worker 0 on CPU "), "{line}");
        address
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, once it has ended by itself.
    #[track_caller]
    fn code(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| panic!("{status}"));
            }
            assert!(Instant::now() < end, "it does not end");
            thread::yield_now();
        }
    }

    fn proc(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// Runs to its end, which is to come by itself.
fn run(args: &[&str], file: Option<&str>, prepare: impl FnOnce(&mut Command)) -> Output {
    let dir = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        fs::write(dir.path().join("corelane.toml"), text).unwrap();
    }
    let mut command = command(dir.path(), args);
    prepare(&mut command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= end {
            child.kill().unwrap();
            panic!("it does not end: {:?}", child.wait_with_output());
        }
        thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

/// Asserts an exit code and one line on stderr, with all of these parts.
#[track_caller]
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// Has a system call fail for the command and its threads.
fn refuse(command: &mut Command, call: i64, errno: i32) {
    let filter =
        |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap();
    let mut program = [
        // The number of the call stands first in what a filter sees.
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::try_from(call).unwrap()),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, refused),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let filter = program.as_mut_ptr();
        let program = libc::sock_fprog { len: 4, filter };
        // SAFETY: a plain system call with a number.
        let private = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: `program` and the filter it points to live on this stack and in this closure;
        // the kernel copies both.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
        if private == 0 && set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

/// Allows the command so many descriptors.
fn allow_descriptors(command: &mut Command, most: u64) {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    let set = move || Ok(setrlimit(Resource::Nofile, limit)?);
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Sends a request and reads the answer up to the end of the connection.
#[track_caller]
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the beginning of a request, and waits until the server is at it.
#[track_caller]
fn begin(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(BEGUN.as_bytes()).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    stream
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// The numbers that a list such as `0-2,5` stands for.
fn numbers(text: &str) -> BTreeSet<usize> {
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    };
    text.trim().split(',').flat_map(run).collect()
}

/// The CPUs that the status of a task or process allows it.
fn allowed(status: &str) -> BTreeSet<usize> {
    let text = fs::read_to_string(status).unwrap();
    numbers(text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap())
}

/// The names and the CPUs of the threads that have such a name, as a worker's helper has, too.
fn threads(running: &Running, prefix: &str) -> BTreeSet<(String, BTreeSet<usize>)> {
    let tasks = fs::read_dir(running.proc("task")).unwrap().flatten();
    let tasks = tasks.map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap().trim().to_owned();
        (name, allowed(&task.path().join("status").display().to_string()))
    });
    tasks.filter(|(name, _)| name.starts_with(prefix)).collect()
}

#[test]
fn says_who_runs_where_and_runs_there() {
    let cpus: Vec<_> = allowed("/proc/self/status").into_iter().collect();
    let workers = cpus.len() + 1;
    let count = workers.to_string();
    let running = Running::start(None, &["run", "--listen", "127.0.0.1:0", "--instances", &count]);
    let (banner, address) = running.banner();
    let start = format!(
        "corelane {}, supervisor pid {}: {workers} workers on CPU",
        env!("CARGO_PKG_VERSION"),
        running.child.id()
    );
    assert!(banner.starts_with(&start), "{banner}");
    let warning = running.line();
    assert!(warning.starts_with(&format!("warning: {workers} workers share CPU")), "{warning}");
    let mut expected = BTreeSet::new();
    for worker in 0..workers {
        let cpu = cpus[worker % cpus.len()];
        running.expect(&format!("worker {worker} on CPU {cpu}: listening"));
        expected.insert((format!("corelane-w{worker}"), BTreeSet::from([cpu])));
    }
    // A worker's helper pins itself, in its own time.
    let deadline = Instant::now() + PATIENCE;
    while threads(&running, "corelane-w") != expected && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(threads(&running, "corelane-w"), expected);
    assert_eq!(listening(address), workers);
    assert_eq!(connect(address).peer_addr().unwrap(), address);
}

/// How many sockets listen on an IPv4 address of this machine.
fn listening(address: SocketAddr) -> usize {
    let local = format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.filter(|fields| fields[1] == local && fields[3] == "0A").count()
}

#[test]
fn an_address_has_as_many_sockets_as_there_are_cpus() {
    let cpus = allowed("/proc/self/status").len();
    let running = Running::start(None, &["--listen", "127.0.0.1:0", "--instances", "1"]);
    assert_eq!(listening(running.one_worker()), cpus);
}

#[test]
fn no_epoll_descriptor_is_open() {
    let running = Running::start(None, &["--listen", "127.0.0.1:0", "--instances", "1"]);
    running.one_worker();
    let links = fs::read_dir(running.proc("fd")).unwrap().flatten();
    let links: Vec<_> = links.map(|fd| fs::read_link(fd.path()).unwrap()).collect();
    assert!(links.iter().any(|link| link.ends_with("anon_inode:[io_uring]")), "{links:?}");
    assert!(!links.iter().any(|link| link.ends_with("anon_inode:[eventpoll]")), "{links:?}");
}

#[test]
fn serves_what_the_file_says() {
    let running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    let cases = [
        (get("/"), "HTTP/1.1 203 ", "x-by: test", "shop"),
        (get("/old"), "HTTP/1.1 301 ", "location: /new", ""),
        (get("/none"), "HTTP/1.1 404 ", "content-length: 13", "404 Not Found"),
        (get("/echo"), "HTTP/1.1 405 ", "allow: POST", "405 Method Not Allowed"),
        (
            BEGUN.replace("\r\n\r\n", "\r\nConnection: close\r\nContent-Type: a/b\r\n\r\n") + "cd",
            "HTTP/1.1 200 ",
            "content-type: a/b",
            "abcd",
        ),
    ];
    for (request, status, header, body) in cases {
        let answer = ask(address, &request);
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        assert!(head.starts_with(status), "{answer}");
        assert!(head.to_lowercase().contains(&header.to_lowercase()), "{header:?} in {answer}");
        assert!(rest.contains(body) && rest.is_empty() == body.is_empty(), "{answer}");
    }
}

#[test]
fn serves_all_apps_of_a_file_in_one_process() {
    let second = APP.replace("shop", "admin");
    let mut running = Running::start(Some(&format!("{APP}{second}")), &["run"]);
    for name in ["shop", "admin"] {
        let (banner, address) = running.banner();
        assert!(banner.starts_with(&format!("[{name}] corelane ")), "{banner}");
        let line = running.line();
        assert!(line.starts_with(&format!("[{name}] worker 0 on CPU ")), "{line}");
        assert!(ask(address, &get("/")).ends_with(name));
    }
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    let last: Vec<_> = running.lines.iter().collect();
    for name in ["shop", "admin"] {
        assert!(last.contains(&format!("[{name}] stopped: 0 connections cut")), "{last:?}");
    }
}

#[test]
fn an_app_that_cannot_start_ends_the_others() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("127.0.0.1:{}", held.local_addr().unwrap().port());
    let second = APP.replace("shop", "admin").replace("127.0.0.1:0", &taken);
    let output = run(&[], Some(&format!("{APP}{second}")), |_| {});
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("[shop] stopped: 0 connections cut\n"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("error: cannot listen on"), "{text}");
}

#[test]
fn a_port_that_is_taken_names_the_holder() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let pid = format!("already in use by pid {}", std::process::id());
    let output = run(&["run", "--listen", &address], None, |_| {});
    fails(&output, 1, &["error: cannot listen on ", &address, &pid]);
}

#[test]
fn a_port_of_another_corelane_is_taken() {
    let running = Running::start(None, &["--listen", "127.0.0.1:0"]);
    let (_, address) = running.banner();
    let address = address.to_string();
    let pid = format!("already in use by pid {} (corelane)", running.child.id());
    fails(&run(&["--listen", &address], None, |_| {}), 1, &[&address, &pid]);
}

#[test]
fn a_privileged_port_is_refused_with_a_way_out() {
    let refused = |command: &mut Command| refuse(command, libc::SYS_bind, libc::EACCES);
    let output = run(&["--listen", "127.0.0.1:1"], None, refused);
    fails(&output, 1, &["cannot listen on 127.0.0.1:1: ", "privileged; hint: use a higher port"]);
}

#[test]
fn cpus_that_are_not_there_are_a_mistake() {
    let file = APP.replace("instances = 1", "cpus = \"1023\"");
    let output = run(&[], Some(&file), |_| {});
    fails(&output, 2, &["error: cannot place a worker on CPU 1023: this process may use CPUs "]);
}

#[test]
fn io_uring_that_is_refused_is_explained() {
    for (errno, cause) in [
        (libc::EPERM, "error: io_uring is forbidden (EPERM)"),
        (libc::ENOSYS, "answers that it has no io_uring: a seccomp profile hides it"),
        (libc::EACCES, "error: io_uring is forbidden by a security module (EACCES)"),
        (libc::ENOMEM, "error: no memory for an io_uring"),
        (libc::EMFILE, "error: no descriptor left for an io_uring in this process"),
    ] {
        let refused = |command: &mut Command| refuse(command, libc::SYS_io_uring_setup, errno);
        let output = run(&["--listen", "127.0.0.1:0"], None, refused);
        fails(&output, 1, &[cause, "; hint: "]);
    }
}

#[test]
fn a_signal_drains_and_exits_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let unix = format!("unix:{}?mode=0600", path.display());
        let args = ["--listen", "127.0.0.1:0", "--listen", &unix, "--instances", "1"];
        let mut running = Running::start(None, &args);
        let (banner, address) = running.banner();
        assert!(banner.ends_with(&format!(", unix:{}", path.display())), "{banner}");
        running.line();
        UnixStream::connect(&path).unwrap();
        running.signal(signal);
        assert!(running.line().starts_with("draining: "));
        running.expect("stopped: 0 connections cut");
        assert_eq!(running.code(), 0);
        assert!(!path.exists(), "the path stays behind");
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_request_that_was_begun_is_answered_while_draining() {
    let mut running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    let mut stream = begin(address);
    running.signal(Signal::TERM);
    assert!(running.line().starts_with("draining: "));
    stream.write_all(b"cd").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("cd"), "{rest}");
    running.expect("stopped: 0 connections cut");
    assert_eq!(running.code(), 0);
}

#[test]
fn whoever_comes_while_it_drains_is_refused_and_does_not_wait() {
    let mut running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    let mut begun = begin(address);
    running.signal(Signal::TERM);
    let end = Instant::now() + PATIENCE;
    // From elsewhere: at a port where nobody listens a connection can come to meet itself.
    let elsewhere = || {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        client.connect(&address.into())
    };
    while elsewhere().is_ok() {
        assert!(Instant::now() < end, "somebody still listens");
    }
    // Another may take the place already.
    drop(TcpListener::bind(address).unwrap());
    begun.write_all(b"cd").unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("abcd"), "{answer}");
    assert_eq!(running.code(), 0);
}

#[test]
fn what_is_open_when_the_time_is_up_is_cut_and_counted() {
    let mut running = Running::start(Some(&format!("{APP}timeouts.drain = \"50ms\"\n")), &[]);
    let address = running.one_worker();
    let _open = begin(address);
    running.signal(Signal::TERM);
    assert!(running.line().starts_with("draining: "));
    running.expect("stopped: 1 connection cut");
    assert_eq!(running.code(), 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut running = Running::start(Some(APP), &[]);
        let address = running.one_worker();
        let _open = begin(address);
        running.signal(Signal::TERM);
        assert!(running.line().starts_with("draining: "));
        running.signal(second);
        running.expect("told to end again: ending at once");
        assert_eq!(running.code(), code);
    }
}

#[test]
fn a_signal_without_a_meaning_yet_ends_nothing() {
    let running = Running::start(Some(APP), &[]);
    let address = running.one_worker();
    running.signal(Signal::USR1);
    let line = running.line();
    assert!(line.starts_with("SIGUSR1 ignored: "), "{line}");
    assert!(ask(address, &get("/")).ends_with("shop"));
}

#[test]
fn serves_with_stderr_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let unix = format!("unix:{}", path.display());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command(dir.path(), &["--listen", &unix]).stderr(writer).spawn().unwrap();
    let mut running = Running { child, lines: channel().1, dir };
    let end = Instant::now() + PATIENCE;
    let mut stream = loop {
        if let Ok(stream) = UnixStream::connect(&path) {
            break stream;
        }
        assert!(Instant::now() < end, "it does not listen in {}", running.dir.path().display());
        thread::yield_now();
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Hello, Cluster!"), "{answer}");
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}
