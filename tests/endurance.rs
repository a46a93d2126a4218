//! What `tests/unkillable` does a few times, many times.
//!
//! ```console
//! $ cargo build --release --example faults
//! $ cargo test --release --test endurance -- --run              # everything, some minutes
//! $ cargo test --release --test endurance -- --run scales stops # these
//! ```
//!
//! Without `--run` it says what it has not run. It ends at the first failure.

#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]
#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failure of the test")]
#![allow(dead_code, unused_imports, reason = "the short tests use more of the scenarios")]

#[path = "unkillable/scenario/mod.rs"]
mod scenario;

use std::sync::atomic::Ordering;
use std::time::Instant;

/// Its name, what it shows, and what prints a figure of it or panics.
type Long = (&'static str, &'static str, fn() -> String);

const SUITE: &[Long] = &[
    ("crashes", "1,000 panics of an executor leave nothing behind", || {
        scenario::crashes(1000);
        "descriptors, threads and pinned memory are flat but for 1,000 eventfds".to_owned()
    }),
    ("crash_loop", "a program that crashes at once gives up with code 70 within 60 s", || {
        format!("after {:.1?}", scenario::crash_loop())
    }),
    ("scales", "20 times from one worker to eight and back without a failed request", || {
        format!("{} requests, 0 failed", scenario::scales(20))
    }),
    ("balances", "20 times 64 connections over eight workers are shared out evenly", || {
        scenario::balances(20);
        "no worker had more than 9".to_owned()
    }),
    ("stops", "of 10,000 requests sent after SIGTERM at most 1 is retried, none is cut", stops),
];

const STOPS: usize = 160;
const STOP_CLIENTS: usize = 128;
/// One in so many may have to be sent again.
const RETRIED_ONE_IN: u64 = 10_000;

fn stops() -> String {
    let tally = scenario::stops(STOPS, STOP_CLIENTS);
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (late, retried, cut) = (count(&tally.late), count(&tally.retried), count(&tally.cut));
    let figures = format!("{late} sent after the signal, {retried} retried, {cut} cut");
    assert!(late >= RETRIED_ONE_IN, "too few to tell: {figures}");
    assert!(cut == 0 && retried * RETRIED_ONE_IN <= late, "{figures}");
    figures
}

fn main() {
    let mut args = std::env::args().skip(1);
    if !args.any(|argument| argument == "--run") {
        println!("\nnot run, since it takes minutes: cargo test --test endurance -- --run");
        for (name, what, _) in SUITE {
            println!("  {name}: {what}");
        }
        return;
    }
    let wanted: Vec<_> = args.collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for (name, what, run) in SUITE.iter().filter(|(name, ..)| chosen(name)) {
        println!("{name}: {what} ...");
        let begun = Instant::now();
        println!("{name}: {} ({:.1?})", run(), begun.elapsed());
    }
}
