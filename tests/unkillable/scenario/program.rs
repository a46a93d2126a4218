//! The example `faults` as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::client::PATIENCE;

/// A running `faults`, killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
}

impl Program {
    /// Starts it on a free port, with so many workers, and waits until they listen.
    #[track_caller]
    pub(crate) fn start(workers: usize, args: &[&str]) -> Self {
        let mut command = Command::new(executable());
        command.args(["--listen", "127.0.0.1:0", "--instances", &workers.to_string()]).args(args);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self { child, lines, address };
        let banner = program.line_with("http://");
        let (_, rest) = banner.split_once("http://").unwrap();
        program.address = rest.split(',').next().unwrap().parse().unwrap();
        for _ in 0..workers {
            program.line_with(": listening");
        }
        program
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next line on stderr that has this in it.
    #[track_caller]
    pub(crate) fn line_with(&self, part: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{part:?} in {before:#?}"));
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
    }

    /// What it has printed since the last line that was asked for.
    pub(crate) fn lines_so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, if it has ended.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        Some(status.code().unwrap_or_else(|| panic!("{status}")))
    }

    /// The exit code and its last lines, once it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self, within: Duration) -> (i32, Vec<String>) {
        let end = Instant::now() + within;
        loop {
            if let Some(code) = self.code() {
                return (code, self.lines.iter().collect());
            }
            assert!(Instant::now() < end, "it ends within {within:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A file or a directory of its own under `/proc`.
    pub(crate) fn proc(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }

    /// A line of its status, as a number.
    pub(crate) fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Cargo builds examples beside the tests, if it is not told to build one test alone.
fn executable() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let faults = profile.join("examples/faults");
    let hint = "build it first: cargo build --example faults";
    assert!(faults.exists(), "{} is missing; {hint}", faults.display());
    faults
}
