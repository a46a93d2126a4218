//! `corelane bench URL`: load a server, and say honestly how it did.

mod bar;
mod drive;
mod meter;
mod options;
mod output;

use std::io::{self, Write};
use std::process::ExitCode;

pub(super) use options::Options;

use drive::{Driver, Measured};
use options::Side;
use output::Output;

use super::exit::{Code, Failure};
use crate::loadgen::{Figures, Hgrm, Plot, Report, Versus};

/// Measures one server, or two in turn.
pub(super) fn bench(options: &Options) -> Result<ExitCode, Failure> {
    let (side, other) = options.sides()?;
    let outputs = [&options.hgrm, &options.plot].map(|path| path.as_deref().map(Output::check));
    let [hgrm, plot] = outputs.map(Option::transpose);
    let (hgrm, plot) = (hgrm?, plot?);
    options.raise_limits(&side.plan)?;
    let mut driver = Driver::new()?;
    let Some(other) = other else {
        let measured = driver.measure(&side, "")?;
        return report(options, &side, &measured, hgrm, plot);
    };
    let versus = rounds(options, &mut driver, &side, &other)?;
    print(&if options.json { json(&versus)? } else { versus.report(&side.plan).to_string() })?;
    Ok(Code::Done.into())
}

fn report(
    options: &Options,
    side: &Side,
    measured: &Measured,
    hgrm: Option<Output>,
    plot: Option<Output>,
) -> Result<ExitCode, Failure> {
    let Measured { figures, latency } = measured;
    let text = if options.json {
        json(figures)?
    } else {
        Report { plan: &side.plan, figures, pid: side.pid() }.to_string()
    };
    print(&text)?;
    succeeded(figures)?;
    if let Some(file) = hgrm {
        file.write(&Hgrm(latency).to_string())?;
    }
    if let Some(file) = plot {
        file.write(&Plot { figures, latency }.to_string())?;
    }
    Ok(Code::Done.into())
}

/// Measures both in each round, each first in every second round. Once stopped, the rounds that
/// are whole count.
fn rounds(
    options: &Options,
    driver: &mut Driver,
    side: &Side,
    other: &Side,
) -> Result<Versus, Failure> {
    let total = options.rounds();
    let mut rounds = Vec::new();
    for round in 1..=total {
        let mut measure = |side: &Side, name| -> Result<_, Failure> {
            if driver.stopped() {
                return Ok(None);
            }
            let measured = driver.measure(side, &format!("round {round} of {total}, {name}: "))?;
            if driver.stopped() {
                return Ok(None);
            }
            succeeded(&measured.figures)?;
            Ok(Some(measured.figures))
        };
        let (a, b) = if round % 2 == 1 {
            let a = measure(side, "a")?;
            (a, measure(other, "b")?)
        } else {
            let b = measure(other, "b")?;
            (measure(side, "a")?, b)
        };
        let (Some(a), Some(b)) = (a, b) else { break };
        rounds.push((a, b));
    }
    Ok(Versus::of(rounds))
}

/// Without a success there is no measurement.
fn succeeded(figures: &Figures) -> Result<(), Failure> {
    if figures.requests > 0 {
        return Ok(());
    }
    let failed = match figures.errors.total() {
        0 => String::new(),
        total => format!(", {total} failed"),
    };
    Err(Failure::NoSuccess { target: figures.target.clone(), failed })
}

fn json(figures: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(figures);
    let mut text = text.map_err(|error| Failure::Output(error.into()))?;
    text.push('\n');
    Ok(text)
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::Output),
    }
}
