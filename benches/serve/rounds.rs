//! Round after round, every contender in turn.

use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::load::Load;
use crate::note;
use crate::options::{Options, Workload};
use crate::process;
use crate::server::Server;

/// What a fresh server is warmed up with, for a second.
const WARM_UP: Workload = Workload { connections: 64, pipeline: 1 };
const WARM_UP_SECONDS: u64 = 1;

/// One workload on one contender in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the server per request, in microseconds.
    pub(crate) cpu: f64,
    /// Requests per second.
    pub(crate) rate: f64,
}

/// The samples of one contender: one list per workload, with one sample per round.
pub(crate) struct Series {
    pub(crate) contender: Contender,
    pub(crate) workloads: Vec<Vec<Sample>>,
}

/// Measures all contenders in turn, again and again.
pub(crate) fn measure(options: &Options, contenders: &[Contender]) -> Result<Vec<Series>, Failure> {
    let load = Load::new()?;
    let mut series: Vec<Series> = contenders
        .iter()
        .map(|&contender| Series { contender, workloads: vec![vec![]; options.workloads.len()] })
        .collect();
    for round in 1..=options.rounds {
        for one in &mut series {
            note(&format!("round {round} of {}: {}", options.rounds, one.contender.name()));
            visit(one, options, &load)?;
        }
    }
    Ok(series)
}

/// One contender's turn: a fresh server, warmed up, under each workload.
fn visit(series: &mut Series, options: &Options, load: &Load) -> Result<(), Failure> {
    let server = Server::start(series.contender)?;
    load.run(server.address(), WARM_UP, WARM_UP_SECONDS)?;
    for (&workload, samples) in options.workloads.iter().zip(&mut series.workloads) {
        samples.push(sample(&server, load, workload, options.seconds)?);
    }
    Ok(())
}

fn sample(
    server: &Server,
    load: &Load,
    workload: Workload,
    seconds: u64,
) -> Result<Sample, Failure> {
    let cpu_time = || process::cpu_time(server.group()).doing("reading the server's CPU time");
    let before = cpu_time()?;
    let count = load.run(server.address(), workload, seconds)?;
    let spent = cpu_time()?.saturating_sub(before);
    if count.requests == 0 || count.errors > 0 {
        return Err(server.failed(format!("wrk counted {count:?} under {workload:?}")));
    }
    // Counts stay far below 2^52, where f64 begins to round.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let requests = count.requests as f64;
    Ok(Sample {
        cpu: spent.as_secs_f64() * 1e6 / requests,
        rate: requests / count.elapsed.as_secs_f64(),
    })
}
