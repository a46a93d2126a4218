//! Measures corelane beside its peers, in turn on the same machine.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick | --full
//!     [--only uring,nginx] [--workloads hello-64,pipelined] [--rounds N] [--seconds S]
//!     [--json FILE] [--publish] [--corelane PROGRAM] [--load PROGRAM]
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- report FILE... [--publish]
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- list
//! ```
//!
//! The first form builds all contenders, installs what it can (Debian's `nginx-light`, npm's
//! packages), names what is missing, checks that all give the same answers, and measures round
//! after round, every contender in turn within each. `--quick` takes less than three minutes
//! after the build, `--full` is the table that is published: 7 rounds of everything.
//!
//! Figures go to a JSON file and a Markdown file under `benches/peers/target/peers`; those of
//! `--full`, or of any run with `--publish`, into `docs/BENCHMARKS.md` and `docs/benchmarks` as
//! well. Ctrl-C keeps in the JSON file what there is, and publishes nothing. The second form
//! writes the report anew from such files, whose rounds are put one after another. The third
//! lists contenders and workloads.
//!
//! Every contender is pinned to CPU 0, the load (`corelane bench`) to CPU 1. `--corelane` measures
//! another build of corelane (its config route), `--load` has another one make the load.

mod check;
mod client;
mod contender;
mod failure;
mod launch;
mod load;
mod machine;
mod measure;
mod options;
mod process;
#[path = "../../../src/loadgen/ratio.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "a file of corelane's, taken in as it is"))]
mod ratio;
mod report;
mod results;
mod server;
mod special;
mod statistics;
mod websocket;
mod workload;
mod workshop;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use contender::Contender;
use failure::{Doing, Failure};
use options::{Mode, Options};
use results::Results;
use workload::Workload;

/// The CPU that every contender is pinned to.
const SERVER_CPU: usize = 0;

/// The CPU that the load comes from.
const CLIENT_CPU: usize = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            note(&format!("error: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    match Mode::parse(arguments)? {
        Mode::Measure(options) => measure(&options),
        Mode::Report { files, publish } => {
            let results = Results::merged(&files)?;
            publish_or_keep(&results, publish)?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::List => {
            list()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn measure(options: &Options) -> Result<ExitCode, Failure> {
    let stop = launch::on_interrupt()?;
    launch::raise_limits()?;
    let mut shop = workshop::open(options)?;
    let mut results = Results::new(machine::look(&shop), options.method());
    check::all(&mut shop, &mut results, &stop)?;
    results.missing.clone_from(&shop.missing);
    measure::rounds(options, &shop, &mut results, &stop)?;
    results.save(&options.json)?;
    note(&format!("figures: {}", options.json.display()));
    if launch::interrupted(&stop) {
        note("interrupted: the figures so far are kept, nothing is published");
        return Ok(ExitCode::from(130));
    }
    publish_or_keep(&results, options.publish)?;
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the report into the documentation, or else beside the build.
fn publish_or_keep(results: &Results, publish: bool) -> Result<(), Failure> {
    let file = if publish {
        report::publish(results, &root().join("docs"))?
    } else {
        report::keep(results, &output())?
    };
    note(&format!("report: {}", file.display()));
    Ok(())
}

fn list() -> Result<(), Failure> {
    let contenders = Contender::ALL.map(|it| format!("  {:<18} {}\n", it.name(), it.what()));
    let workloads = Workload::all().into_iter().map(|it| format!("  {:<18} {}\n", it.id, it.title));
    let workloads: String = workloads.collect();
    let text = format!("contenders:\n{}workloads:\n{workloads}", contenders.concat());
    io::stdout().write_all(text.as_bytes()).doing("printing the list")
}

/// The checkout that this package is part of.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).map_or_else(|| package.to_owned(), Path::to_owned)
}

/// Where figures go that are not published.
fn output() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

/// Tells the person who waits, on stderr.
fn note(line: &str) {
    // Nobody listens: then nobody needs to be told.
    let _ = writeln!(io::stderr(), "{line}");
}
