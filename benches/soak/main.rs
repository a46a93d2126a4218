//! Whether hours of panics and bad clients leave anything behind: memory, threads, descriptors, a
//! client that waits for ever, a wrong answer.
//!
//! ```text
//! cargo bench --bench soak -- [--seconds 600] [--panics-per-second 1]
//! ```
//!
//! Starts the example `faults --unlimited-restarts` with two workers and lets clients of every kind
//! at it, each on a thread of its own with plain blocking sockets: [`client::Kind`] lists them.
//! Every answer is compared byte for byte, but for its date, with the one that the same request got
//! before the first panic. Meanwhile an executor panics so many times a second, which may be 0.1 or
//! 0. Every two seconds the server's memory, threads and descriptors are read from `/proc`.
//!
//! At the end, or after Ctrl-C, the clients go, and once the server is idle it must be as it
//! was before they came: [`verdict`] says what is compared, and prints it. The exit code is 1 if
//! anything was wrong, late or left behind.
//!
//! A connection may end early only if an executor panicked within the second before; with one panic
//! a second that excuses each of them, so a soak with fewer looks more closely.

#![expect(clippy::print_stdout, reason = "the figures")]
#![expect(clippy::print_stderr, reason = "progress, and what is wrong")]
#![expect(unsafe_code, reason = "a command is prepared between fork and exec")]

mod client;
mod question;
mod sample;
#[path = "../instance/server.rs"]
mod server;
mod tally;
mod verdict;

use std::io::{self, IsTerminal};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::{Kind, Seat};
use question::Book;
use sample::Sample;
use server::Server;
use signal_hook::consts::{SIGINT, SIGTERM};
use tally::Tally;
use verdict::Soak;

const SECONDS: u64 = 600;
const PANICS_PER_SECOND: f64 = 1.0;
const WORKERS: u64 = 2;
/// How often the server is looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// How often the clock is.
const LOOK: Duration = Duration::from_millis(100);
/// How long the server may take to be idle again once the clients are gone.
const SETTLE: Duration = Duration::from_secs(15);
const HINT: &str = "hint: cargo bench --bench soak -- [--seconds 600] [--panics-per-second 1]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((time, panics)) = asked(&arguments) else {
        eprintln!("error: unknown arguments, nothing measured\n{HINT}");
        return ExitCode::from(2);
    };
    match soak(time, panics) {
        Ok(soak) if verdict::print(&soak) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long, and how many panics a second; none if that is not what the arguments say.
fn asked(arguments: &[String]) -> Option<(Duration, f64)> {
    let (mut seconds, mut panics) = (SECONDS, PANICS_PER_SECOND);
    // `cargo bench` says `--bench` last; `cargo test --benches` does not, and loads no machine.
    let (last, rest) = arguments.split_last()?;
    for pair in rest.chunks(2) {
        match pair {
            [key, value] if key == "--seconds" => seconds = value.parse().ok()?,
            [key, value] if key == "--panics-per-second" => panics = value.parse().ok()?,
            _ => return None,
        }
    }
    let sound = last == "--bench" && seconds > 0 && (0.0..=1000.0).contains(&panics);
    sound.then_some((Duration::from_secs(seconds), panics))
}

fn soak(time: Duration, panics: f64) -> io::Result<Soak> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut command = Command::new(server::build_faults()?);
    let instances = WORKERS.to_string();
    command.args(["--listen", "127.0.0.1:0", "--instances", &instances, "--unlimited-restarts"]);
    let mut server = Server::start(command, WORKERS)?;
    let book = Book::learn(server.address)?;
    let tally = Tally::new(Kind::ALL.len());
    let before = settled(&mut server, |_| true)?;

    let begun = Instant::now();
    let (address, leave) = (server.address, Arc::clone(&stop));
    let watched = thread::scope(|scope| {
        for kind in Kind::ALL {
            for number in 0..kind.clients() {
                let seat = Seat { kind, number, address, book: &book, tally: &tally, stop: &stop };
                scope.spawn(move || seat.serve());
            }
        }
        if panics > 0.0 {
            let every = Duration::from_secs_f64(1.0 / panics);
            let seat = Seat {
                kind: Kind::Panic,
                number: 0,
                address,
                book: &book,
                tally: &tally,
                stop: &stop,
            };
            scope.spawn(move || seat.panic_every(every));
        }
        let watched = watch(&mut server, begun, time, &leave, &tally);
        stop.store(true, Ordering::SeqCst);
        watched
    });
    let (elapsed, samples) = (begun.elapsed(), watched?);
    let after = settled(&mut server, |now| verdict::is_idle(&before, now))?;
    Ok(Soak { elapsed, samples, before, after, tally })
}

/// Looks at the server until the time is over, or somebody has had enough.
fn watch(
    server: &mut Server,
    begun: Instant,
    time: Duration,
    stop: &AtomicBool,
    tally: &Tally,
) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut due = begun;
    while begun.elapsed() < time && !stop.load(Ordering::SeqCst) {
        if due <= Instant::now() {
            due += SAMPLE_EVERY;
            let sample = look(server, begun.elapsed())?;
            if io::stderr().is_terminal() {
                eprint!(
                    "\r\x1b[K{} of {} s: {sample}; {tally}",
                    begun.elapsed().as_secs(),
                    time.as_secs()
                );
            }
            samples.push(sample);
        }
        thread::sleep(LOOK);
    }
    samples.push(look(server, begun.elapsed())?);
    if io::stderr().is_terminal() {
        eprintln!();
    }
    Ok(samples)
}

fn look(server: &mut Server, at: Duration) -> io::Result<Sample> {
    let process = server.check()?;
    Sample::read(process, at, server.listened() - WORKERS)
}

/// The first look at the server that is idle, or the last one when it takes too long for that.
fn settled(server: &mut Server, idle: impl Fn(&Sample) -> bool) -> io::Result<Sample> {
    let deadline = Instant::now() + SETTLE;
    let mut before = None;
    loop {
        let sample = look(server, Duration::ZERO)?;
        let still = before.is_some_and(|before| sample.is_like(&before));
        if (still && idle(&sample)) || Instant::now() > deadline {
            return Ok(sample);
        }
        before = Some(sample);
        thread::sleep(5 * LOOK);
    }
}
