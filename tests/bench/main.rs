//! `corelane bench` as a process: what is refused, what is reported, and how it ends.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failure of the test")]

mod refused;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Whatever takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const APP: &str = r#"
[[apps]]
name = "shop"
listen = ["127.0.0.1:0", "unix:shop.sock"]
instances = 1
routes = [
    { path = "/", respond = { body = "shop" } },
    { path = "/missing", respond = { status = 404, body = "" } },
    { path = "/echo", echo = {} },
]
"#;

/// A `corelane run` in a directory of its own, killed when dropped.
struct Server {
    child: Child,
    dir: TempDir,
    url: String,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", dir.path().join("shop.sock").display());
        let app = APP.replace("unix:shop.sock", &socket);
        fs::write(dir.path().join("corelane.toml"), app).unwrap();
        let mut child = command(dir.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let mut url = None;
        let url = loop {
            let line = lines.recv_timeout(PATIENCE).expect("the server says that it listens");
            if let Some((_, rest)) = line.split_once("http://") {
                url = rest.split(',').next().map(|address| format!("http://{address}"));
            }
            if line.starts_with("worker 0 on CPU ") {
                break url.expect("the banner comes first");
            }
        };
        Self { child, dir, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills and reaps.
fn end(child: &mut Child) {
    let _ended = child.kill();
    let _reaped = child.wait();
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let stream = BufReader::new(stream);
    thread::spawn(move || stream.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
    lines
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// Runs `corelane bench` to its end, which is to come by itself.
fn bench(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    finish(command(dir.path(), &[&["bench"], args].concat()))
}

fn finish(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it prints fits into a pipe.
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// The exit code, once it has ended by itself.
#[track_caller]
fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() >= deadline {
            end(child);
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts an exit code, and what stands on stdout and on stderr; nothing if that is empty.
#[track_caller]
fn check(output: &Output, code: i32, stdout: &[&str], stderr: &[&str]) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    for (found, expected) in [(out, stdout), (err, stderr)] {
        assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
        for part in expected {
            assert!(found.contains(part), "{part:?} in {found}");
        }
    }
}

/// The JSON of a run that ended well and had nothing to say on stderr.
#[track_caller]
fn json(output: &Output) -> Value {
    check(output, 0, &["{"], &[]);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Few and fast: a run that is there to be reported.
const BRIEF: [&str; 6] = ["-c", "4", "-d", "300ms", "--warm-up", "100ms"];

fn brief<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&BRIEF, args].concat()
}

#[test]
fn the_report_goes_to_stdout_and_nothing_elsewhere() {
    let server = Server::start();
    let output = bench(&brief(&[&server.url]));
    let head =
        format!("GET {}/\n4 connections, 1 thread, 300ms after 100ms of warm-up\n", server.url);
    let parts = [&head, "\n  requests/s ", "\n  latency       min ", " p99.99 ", " max "];
    check(&output, 0, &parts, &[]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("ERRORS"));
}

#[test]
fn json_has_the_figures() {
    let server = Server::start();
    let pid = server.child.id().to_string();
    let found = json(&bench(&brief(&["--json", "--pid", &pid, &server.url])));
    let object = found.as_object().unwrap();
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = "connections elapsed_seconds errors generator interrupted keep_alive \
        latency_microseconds method pipeline rate received_bytes received_bytes_per_second \
        requests requests_per_second retried sent_bytes server statuses target threads \
        unanswered unanswered_for_microseconds unsent";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(number("/requests") > 0.0);
    assert_eq!(found["requests"], found["statuses"]["200"]);
    let rate = number("/requests") / number("/elapsed_seconds");
    assert!((number("/requests_per_second") / rate - 1.0).abs() < 1e-9);
    let latency = |name: &str| number(&format!("/latency_microseconds/{name}"));
    let ordered = ["min", "p50", "p75", "p90", "p99", "p99.9", "p99.99", "max"].map(latency);
    assert!(ordered[0] > 0.0 && ordered.is_sorted(), "{ordered:?}");
    assert!(found["errors"].as_object().unwrap().values().all(|count| count == 0));
    assert_eq!(found["server"]["pid"], server.child.id());
    assert!(number("/server/cpu_seconds") > 0.0);
    assert!(number("/server/cpu_microseconds_per_request") > 0.0);
    assert!(number("/server/peak_memory_bytes") > 1_000_000.0);
    assert_eq!(found["interrupted"], false);
}

#[test]
fn a_number_of_requests_is_kept_to() {
    let server = Server::start();
    let args = ["-n", "500", "-c", "4", "--warm-up", "0s", "--json", &server.url];
    let found = json(&bench(&args));
    let requests = found["requests"].as_u64().unwrap();
    assert!((500..504).contains(&requests), "{requests}");
}

#[test]
fn an_open_loop_tells_how_late_it_was() {
    let server = Server::start();
    let found = json(&bench(&brief(&["--rate", "1000", "--json", &server.url])));
    assert_eq!(found["rate"], 1000.0);
    assert!(found["generator"]["late_microseconds"]["p99"].as_f64().unwrap() >= 0.0);
    let output = bench(&brief(&["--rate", "1000", &server.url]));
    check(&output, 0, &["1000 requests/s to be sent", "\n  sent late by  p50 "], &[]);
}

#[test]
fn a_unix_socket_is_a_target() {
    let server = Server::start();
    let socket = format!("unix:{}", server.dir.path().join("shop.sock").display());
    let found = json(&bench(&brief(&["--json", &socket])));
    assert_eq!(found["target"], socket);
    assert!(found["requests"].as_u64().unwrap() > 0);
    let missing = format!("{socket}:/missing");
    let found = json(&bench(&brief(&["--json", "--expect", "404", &missing])));
    assert_eq!(found["requests"], found["statuses"]["404"]);
}

#[test]
fn answers_that_are_no_success_are_errors() {
    let server = Server::start();
    let missing = format!("{}/missing", server.url);
    let output = bench(&brief(&[&missing]));
    let parts =
        ["  ERRORS ", " answered with a status that is no success\n", "\n  statuses      404: "];
    let problem = format!("error: no request to {missing} succeeded, ");
    check(&output, 1, &parts, &[&problem, " failed\n"]);
    let output = bench(&brief(&["--json", &missing]));
    check(&output, 1, &["\"latency_microseconds\": null"], &[&problem]);
}

#[test]
fn a_server_that_is_not_there_is_a_failure() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = bench(&[&format!("http://127.0.0.1:{port}/")]);
    let problem = format!("error: cannot connect to 127.0.0.1:{port}: ");
    check(&output, 1, &[], &[&problem, "\nhint: start the server"]);
}

#[test]
fn files_are_written_beside_the_report() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let [hgrm, plot] = ["a.hgrm", "a.svg"].map(|name| dir.path().join(name));
    let args = ["--hgrm", hgrm.to_str().unwrap(), "--plot", plot.to_str().unwrap(), &server.url];
    check(&bench(&brief(&args)), 0, &["requests/s"], &[]);
    let text = fs::read_to_string(&hgrm).unwrap();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
    assert!(text.lines().last().unwrap().starts_with("#[Buckets = "));
    let text = fs::read_to_string(&plot).unwrap();
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// Sends the head and the body of each request that comes, and answers it.
fn listen(requests: Sender<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x?y", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let requests = requests.clone();
            thread::spawn(move || answer(&stream.unwrap(), &requests));
        }
    });
    url
}

fn answer(mut stream: &TcpStream, requests: &Sender<(String, Vec<u8>)>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        requests.send((head, body)).ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

#[test]
fn what_is_sent_is_what_was_asked_for() {
    let (sender, requests) = channel();
    let url = listen(sender);
    let host = url.strip_prefix("http://").unwrap().strip_suffix("/x?y").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body");
    fs::write(&file, b"\0\xff\r\n").unwrap();
    let once = ["-n", "1", "-c", "1", "--warm-up", "0s", "--json"];
    let text = |head: &str| format!("{head}\r\n").replace("HOST", host);
    for (args, head, body) in [
        (&[][..], "GET /x?y HTTP/1.1\r\nHost: HOST\r\n", &b""[..]),
        (
            &["-H", "Host: a.example", "--header", "X-A: b", "--body", "abc"],
            "POST /x?y HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\nContent-Length: 3\r\n",
            b"abc",
        ),
        (
            &["-X", "PUT", "--body-file", file.to_str().unwrap()],
            "PUT /x?y HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n",
            b"\0\xff\r\n",
        ),
        (&["--no-keepalive"], "GET /x?y HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n", b""),
    ] {
        let found = json(&bench(&[&once, args, &[&url]].concat()));
        assert_eq!(found["requests"], 1, "{args:?}");
        let request = requests.recv_timeout(PATIENCE).unwrap();
        assert_eq!(request, (text(head), body.to_vec()), "{args:?}");
        while requests.try_recv().is_ok() {}
    }
}

#[test]
fn two_servers_are_compared_pair_by_pair() {
    let (server, other) = (Server::start(), Server::start());
    let [pid, other_pid] = [&server, &other].map(|server| server.child.id().to_string());
    let args = ["--rounds", "2", "--pid", &pid, "--vs", &other.url, "--vs-pid", &other_pid];
    let found = json(&bench(&brief(&[&args[..], &["--json", &server.url]].concat())));
    assert_eq!(found["rounds"], 2);
    for (side, url, pid) in [("a", &server.url, &pid), ("b", &other.url, &other_pid)] {
        let runs = found[side].as_array().unwrap();
        assert_eq!(runs.len(), 2);
        for run in runs {
            assert_eq!(run["target"], format!("{url}/"));
            assert_eq!(run["server"]["pid"].to_string(), *pid);
        }
    }
    for key in ["requests_per_second", "latency_p50", "latency_p99", "cpu_per_request"] {
        let ratio = &found["ratios"][key];
        let [low, mean, high] = ["low", "mean", "high"].map(|part| ratio[part].as_f64().unwrap());
        assert!(0.0 < low && low <= mean && mean <= high, "{key}: {ratio}");
        assert_eq!(ratio["beyond_noise"], low > 1.0 || high < 1.0, "{key}: {ratio}");
    }
    let output = bench(&brief(&[&args[..], &[&server.url]].concat()));
    check(&output, 0, &["2 rounds of 300ms", "\nCPU per request ", " the noise\n"], &[]);
}

/// A run that takes for ever, once it is measuring: told by the requests that arrive.
fn endless(args: &[&str]) -> Child {
    let (sender, requests) = channel();
    let url = listen(sender);
    let dir = tempfile::tempdir().unwrap();
    let all = [&["bench", "-c", "1", "-d", "1h", "--warm-up", "0s"], args, &[&url]].concat();
    let mut command = command(dir.path(), &all);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..100 {
        requests.recv_timeout(PATIENCE).expect("requests come");
    }
    // The server goes on, and nobody has to listen.
    child
}

#[test]
fn told_to_stop_it_reports_what_there_is() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = endless(&["--json"]);
        kill_process(Pid::from_child(&child), signal).unwrap();
        wait(&mut child);
        let found = json(&child.wait_with_output().unwrap());
        assert_eq!(found["interrupted"], true);
        assert!(found["requests"].as_u64().unwrap() > 0);
    }
}

#[test]
fn told_to_stop_between_rounds_it_has_no_ratio() {
    let mut child = endless(&["--vs", "http://127.0.0.1:9/"]);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    wait(&mut child);
    let output = child.wait_with_output().unwrap();
    check(&output, 0, &["warning: a ratio takes at least two rounds"], &[]);
}
