//! Workers that panic again and again.

use std::fs;
use std::time::{Duration, Instant};

use super::client::{Client, PATIENCE};
use super::program::Program;

/// Panics after which everything that is made once has been made.
const WARM_UP: usize = 3;
/// How long a program with the default policy may crash before it gives up.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(60);

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Footprint {
    eventfds: usize,
    other_descriptors: usize,
    threads: u64,
    pinned_kib: u64,
    locked_kib: u64,
}

impl Footprint {
    fn of(program: &Program) -> Self {
        let links = fs::read_dir(program.proc("fd")).unwrap().flatten();
        let links: Vec<_> = links.filter_map(|link| fs::read_link(link.path()).ok()).collect();
        let eventfds = links.iter().filter(|link| link.ends_with("anon_inode:[eventfd]")).count();
        Self {
            eventfds,
            other_descriptors: links.len() - eventfds,
            threads: program.status("Threads"),
            pinned_kib: program.status("VmPin"),
            locked_kib: program.status("VmLck"),
        }
    }

    /// Whether so many lives have left no more behind than their eventfds. What was on its way
    /// out at the first look may be gone.
    fn is_flat(&self, before: &Self, lives: usize) -> bool {
        self.eventfds == before.eventfds + lives
            && self.other_descriptors <= before.other_descriptors
            && self.threads <= before.threads
            && self.pinned_kib <= before.pinned_kib
            && self.locked_kib <= before.locked_kib
    }
}

/// A worker's executor panics so often. What the process holds stays the same, but for one eventfd
/// of glommio's per life.
pub(crate) fn crashes(times: usize) {
    let program = Program::start(1, &["--unlimited-restarts"]);
    (0..WARM_UP).for_each(|_| crash(&program));
    assert_eq!(Client::connect(program.address()).ask_last("/").body(), "Hello, Cluster!");
    let before = Footprint::of(&program);
    (0..times).for_each(|_| crash(&program));
    assert_eq!(Client::connect(program.address()).ask_last("/").body(), "Hello, Cluster!");
    let mut now = Footprint::of(&program);
    let end = Instant::now() + PATIENCE;
    // The kernel lets go of a ring's memory some time after its end.
    while !now.is_flat(&before, times) && Instant::now() < end {
        now = Footprint::of(&program);
    }
    assert!(now.is_flat(&before, times), "{now:?} after {times} panics, before them {before:?}");
}

/// The worker panics, and a successor listens.
fn crash(program: &Program) {
    // The answer may come or not.
    let _answer = Client::connect(program.address()).ask("/executor-panic");
    let line = program.line_with("restarting");
    assert!(line.contains("a task, on purpose"), "{line}");
    program.line_with(": listening");
}

/// With the default policy a program whose worker only ever panics gives up: exit code 70, and the
/// reason on stderr.
pub(crate) fn crash_loop() -> Duration {
    let mut program = Program::start(1, &["--drain", "1000"]);
    let begun = Instant::now();
    while program.code().is_none() {
        assert!(begun.elapsed() < GIVES_UP_WITHIN, "it crashes on and on");
        if let Ok(stream) = std::net::TcpStream::connect(program.address()) {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _answer = Client::on(stream).ask("/executor-panic");
        }
    }
    let took = begun.elapsed();
    let (code, lines) = program.ended(PATIENCE);
    assert_eq!(code, 70, "{lines:#?}");
    let last = lines.iter().any(|line| {
        line.contains("a task, on purpose") && line.contains("restarted 16 times of late, no more")
    });
    assert!(last, "{lines:#?}");
    took
}
