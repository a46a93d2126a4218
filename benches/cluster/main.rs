//! What the death of a worker costs its clients, and how evenly connections are spread: corelane
//! beside Node's `cluster`.
//!
//! ```text
//! cargo bench --bench cluster -- [--rounds 5]
//! ```
//!
//! In each round, each of the two serves with four workers, one after the other: the example
//! `faults --unlimited-restarts`, and `node.js` beside this file, whose primary forks again what
//! exits. A request makes the worker that gets it panic, or throw. Measured are
//!
//! * the time from a worker's death, as the client that caused it sees it, until an answer comes
//!   from the same worker number again, while four clients ask over fresh connections all the time;
//!   how many of these connections failed and how many took longer than 100 ms;
//! * of 40 idle keep-alive connections, and of 40 requests in flight, how many are lost when one
//!   worker dies, and how many of those were another worker's;
//! * the number of connections that each worker gets of 200 that come one after another, and of 64
//!   that are opened at once and kept.
//!
//! It needs `node`; without it corelane is measured alone.

#![expect(clippy::print_stdout, reason = "the figures")]
#![expect(clippy::print_stderr, reason = "progress, and what is wrong")]
#![expect(unsafe_code, reason = "a command is prepared between fork and exec")]

#[path = "../instance/client.rs"]
mod client;
mod contender;
mod death;
mod evenness;
mod report;
#[path = "../instance/server.rs"]
mod server;

use std::io;
use std::process::ExitCode;

use contender::Contender;
use death::{Loss, Recovery};
use evenness::Spread;

/// How many workers each has.
pub(crate) const WORKERS: usize = 4;
const ROUNDS: usize = 5;
/// Deaths whose recovery is measured, in each round.
const DEATHS: usize = 4;
const HINT: &str = "hint: cargo bench --bench cluster -- [--rounds 5]";

/// What was measured of a contender, one entry a round and, of recoveries, `DEATHS`.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) recoveries: Vec<Recovery>,
    pub(crate) idle: Vec<Loss>,
    pub(crate) in_flight: Vec<Loss>,
    pub(crate) in_turn: Vec<Spread>,
    pub(crate) at_once: Vec<Spread>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rounds = match arguments[..] {
        ["--bench"] => Some(ROUNDS),
        ["--rounds", rounds, "--bench"] => rounds.parse().ok().filter(|rounds| *rounds > 0),
        _ => None,
    };
    let Some(rounds) = rounds else {
        eprintln!("error: unknown arguments, nothing measured\n{HINT}");
        return ExitCode::from(2);
    };
    let mut measured = Vec::new();
    for contender in [Contender::corelane(), Contender::node()] {
        match contender {
            Ok(contender) => measured.push((contender, Figures::default())),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    for round in 1..=rounds {
        measured.retain_mut(|(contender, figures)| {
            eprintln!("round {round} of {rounds}: {}", contender.name);
            let visited = visit(contender, figures);
            visited.inspect_err(|error| eprintln!("{} left out: {error}", contender.name)).is_ok()
        });
    }
    if measured.is_empty() {
        return ExitCode::FAILURE;
    }
    report::print(&measured);
    ExitCode::SUCCESS
}

/// One contender's turn, with a fresh server.
fn visit(contender: &Contender, figures: &mut Figures) -> io::Result<()> {
    let mut server = contender.start()?;
    figures.in_turn.push(evenness::in_turn(server.address)?);
    figures.at_once.push(evenness::at_once(server.address)?);
    figures.idle.push(death::idle(&mut server)?);
    figures.in_flight.push(death::in_flight(&mut server)?);
    for _ in 0..DEATHS {
        figures.recoveries.push(death::recovery(&mut server)?);
    }
    Ok(())
}
