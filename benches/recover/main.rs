//! How long nobody serves when a worker dies: from an executor's panic to the next answer.
//!
//! ```text
//! cargo bench --bench recover -- [--panics 100]
//! ```
//!
//! Starts the example `faults --unlimited-restarts` with one worker, so that nobody else can answer
//! in its place. Again and again a client has it panic, sees its connection close, connects anew
//! and asks until it is answered. Printed are the times from just before the panic was asked for,
//! and from the moment at which the client saw the connection close; and how many of the new
//! connections were closed without an answer: the dying worker had accepted them.

#![expect(clippy::print_stdout, reason = "the figures")]
#![expect(clippy::print_stderr, reason = "what is wrong")]
#![expect(unsafe_code, reason = "a command is prepared between fork and exec")]

#[path = "../instance/client.rs"]
mod client;
#[path = "../instance/server.rs"]
mod server;

use std::fs;
use std::io::{self, Read};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use server::Server;

const PANICS: usize = 100;
/// Between two panics: long enough for the worker to have parked.
const REST: Duration = Duration::from_millis(60);
/// The median that is aimed at, counted from the close.
const TARGET: Duration = Duration::from_millis(20);
const HINT: &str = "hint: cargo bench --bench recover -- [--panics 100]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let panics = match arguments[..] {
        ["--bench"] => Some(PANICS),
        ["--panics", panics, "--bench"] => panics.parse().ok().filter(|panics| *panics > 0),
        _ => None,
    };
    let Some(panics) = panics else {
        eprintln!("error: unknown arguments, nothing measured\n{HINT}");
        return ExitCode::from(2);
    };
    match measure(panics) {
        Ok(recoveries) => {
            report(&recoveries);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One panic, and what came of it.
struct Recovery {
    since_sent: Duration,
    since_closed: Duration,
    /// Connections that were closed without an answer meanwhile.
    unanswered: u64,
}

fn measure(panics: usize) -> io::Result<Vec<Recovery>> {
    let mut command = Command::new(server::build_faults()?);
    command.args(["--listen", "127.0.0.1:0", "--instances", "1", "--unlimited-restarts"]);
    let mut server = Server::start(command, 1)?;
    let mut recoveries = Vec::with_capacity(panics);
    for _ in 0..panics {
        thread::sleep(REST);
        recoveries.push(recover(&mut server)?);
    }
    Ok(recoveries)
}

fn recover(server: &mut Server) -> io::Result<Recovery> {
    let stream = client::connect(server.address)?;
    client::ask(&stream, "/")?;
    let before = server.listened();
    let sent = Instant::now();
    client::send(&stream, "/executor-panic")?;
    // Its answer may or may not get out; the close does. A reset is one, too.
    if let Err(error) = (&stream).read_to_end(&mut Vec::new())
        && error.kind() != io::ErrorKind::ConnectionReset
    {
        return Err(io::Error::other(format!("the panic closed no connection: {error}")));
    }
    let closed = Instant::now();
    let mut unanswered = 0;
    while let Err(error) = client::connect(server.address).and_then(|it| client::ask(&it, "/")) {
        server.check()?;
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            return Err(io::Error::other("a new connection was not answered"));
        }
        unanswered += 1;
    }
    let answered = Instant::now();
    // Answered by another life, it was measured; its word may come a little later.
    let deadline = answered + Duration::from_secs(1);
    while server.listened() == before {
        if Instant::now() > deadline {
            return Err(io::Error::other("the panic ended no life"));
        }
        thread::yield_now();
    }
    let (since_sent, since_closed) = (answered - sent, answered - closed);
    Ok(Recovery { since_sent, since_closed, unanswered })
}

fn report(recoveries: &[Recovery]) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{} panics of the only worker; load average {}", recoveries.len(), load.trim());
    println!("{:<44} {:>8} {:>8} {:>8}", "until the next answer, ms", "median", "p90", "max");
    row("from just before the panic was asked for", recoveries.iter().map(|it| it.since_sent));
    let median = row("from the close", recoveries.iter().map(|it| it.since_closed));
    let unanswered: u64 = recoveries.iter().map(|it| it.unanswered).sum();
    println!("new connections closed without an answer: {unanswered}");
    let met = if median <= TARGET { "met" } else { "missed" };
    println!("target, a median of at most {TARGET:?} from the close: {met}");
}

/// Prints a row; returns the median.
fn row(name: &str, times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let [median, p90, max] = [50, 90, 100].map(|share| at(share).as_secs_f64() * 1e3);
    println!("{name:<44} {median:>8.2} {p90:>8.2} {max:>8.2}");
    at(50)
}
