//! Measures what a request costs: corelane beside the bare loops it stands on, and beside nginx.
//!
//! ```text
//! cargo bench --bench serve -- [--rounds N] [--seconds S] [--quick] [--connections 1,64]
//!                              [--pipeline 16] [--only uring,nginx] [--json FILE]
//! cargo bench --bench serve -- --idle 10000 [--only corelane-config,nginx] [--json FILE]
//! cargo bench --bench serve -- floor uring|epoll CPU PORT
//! ```
//!
//! The first form starts the contenders in turn, each pinned to CPU 0, drives each with `wrk`
//! pinned to CPU 1, and reads from `/proc` what the server's threads spent on a CPU. It prints
//! medians (least - most), and the ratio to the bare `io_uring` loop of the same round. The
//! second form holds idle connections open and prints what each keeps resident. The third form
//! serves with one of the bare loops until it is killed.
//!
//! The contenders:
//!
//! | name | what |
//! |---|---|
//! | `uring` | a bare `io_uring` loop: [`floor::uring`] |
//! | `epoll` | a bare epoll loop: [`floor::epoll`] |
//! | `corelane-config` | `corelane run` with one `respond` route |
//! | `corelane-library` | the example `bench_hello`, one handler that returns a `&'static str` |
//! | `nginx` | `return 200`, one worker process, access log off |
//!
//! The machine needs two CPUs and `wrk`; a contender that is not there is named and left out.

mod client;
mod contender;
mod failure;
mod floor;
mod idle;
mod launch;
mod load;
mod options;
mod process;
mod report;
mod rounds;
mod server;
mod statistics;

use std::io::{self, Write};
use std::process::ExitCode;

use contender::Contender;
use failure::Failure;
use options::{Mode, Options};

/// The CPU that every contender is pinned to.
const SERVER_CPU: usize = 0;

/// The CPU that the load comes from.
const CLIENT_CPU: usize = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(&format!("error: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    match Mode::parse(arguments)? {
        Mode::Launch { cpu, command } => launch::exec(cpu, &command),
        Mode::Floor { kind, cpu, port } => floor::serve(kind, cpu, port),
        Mode::Rounds(options) => {
            load::require_wrk()?;
            let contenders = present(&options);
            let results = rounds::measure(&options, &contenders)?;
            report::rounds(&options, &results)
        }
        Mode::Idle { connections, options } => {
            let contenders = present(&options);
            let results = idle::measure(connections, &contenders)?;
            report::idle(connections, &options, &results)
        }
        // `cargo test --benches` runs this program too, and a test must not load the machine.
        Mode::Nothing => {
            note("serve: nothing measured; hint: cargo bench --bench serve");
            Ok(())
        }
    }
}

/// The contenders asked for that are on this machine; the others are named.
fn present(options: &Options) -> Vec<Contender> {
    let mut present = options.contenders.clone();
    present.retain(|contender| match contender.missing() {
        None => true,
        Some(why) => {
            note(&format!("{} left out: {why}", contender.name()));
            false
        }
    });
    present
}

/// Tells the person who waits, on stderr: stdout is for the figures.
fn note(line: &str) {
    // Nobody listens: then nobody needs to be told.
    let _ = writeln!(io::stderr(), "{line}");
}
