//! The command line.

use std::path::PathBuf;

use crate::contender::Contender;
use crate::failure::Failure;
use crate::floor::Kind;

const ROUNDS: usize = 7;
const SECONDS: u64 = 3;
const QUICK_ROUNDS: usize = 3;
const QUICK_SECONDS: u64 = 1;
const CONNECTIONS: [usize; 2] = [1, 64];
const PIPELINE: usize = 16;

/// What this process is asked to do.
pub(crate) enum Mode {
    /// Become `command`, pinned to `cpu`; the bench starts its contenders through this.
    Launch { cpu: usize, command: Vec<String> },
    /// Serve with a bare loop.
    Floor { kind: Kind, cpu: usize, port: u16 },
    /// Measure CPU time and requests per second.
    Rounds(Options),
    /// Measure what idle connections keep resident.
    Idle { connections: usize, options: Options },
    /// Not called by `cargo bench`.
    Nothing,
}

/// How much to measure, and of whom.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) json: Option<PathBuf>,
}

/// How many connections ask at once, and how many requests each sends in one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
}

impl Mode {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: &[String]) -> Result<Mode, Failure> {
        match arguments {
            [verb, cpu, command @ ..] if verb == "launch" => {
                Ok(Mode::Launch { cpu: number("CPU", cpu)?, command: command.to_vec() })
            }
            [verb, kind, cpu, port] if verb == "floor" => Mode::floor(kind, cpu, port),
            // `cargo bench` says `--bench` last, whatever else it passes on.
            [verb, kind, cpu, port, last] if verb == "floor" && last == "--bench" => {
                Mode::floor(kind, cpu, port)
            }
            [.., last] if last == "--bench" => measurement(&arguments[..arguments.len() - 1]),
            _ => Ok(Mode::Nothing),
        }
    }

    fn floor(kind: &str, cpu: &str, port: &str) -> Result<Mode, Failure> {
        let kind = Kind::named(kind)
            .ok_or_else(|| Failure::Usage(format!("no floor is called {kind:?}")))?;
        Ok(Mode::Floor { kind, cpu: number("CPU", cpu)?, port: number("PORT", port)? })
    }
}

fn measurement(arguments: &[String]) -> Result<Mode, Failure> {
    let mut rounds = None;
    let mut seconds = None;
    let mut quick = false;
    let mut connections = CONNECTIONS.to_vec();
    let mut pipeline = PIPELINE;
    let mut only = None;
    let mut json = None;
    let mut idle = None;

    let mut rest = arguments.iter();
    while let Some(key) = rest.next() {
        if key == "--quick" {
            quick = true;
            continue;
        }
        let mut value = || {
            rest.next().ok_or_else(|| Failure::Usage(format!("{key} is unknown or lacks a value")))
        };
        match key.as_str() {
            "--rounds" => rounds = Some(positive(key, value()?)?),
            "--seconds" => seconds = Some(positive(key, value()?)?),
            "--connections" => connections = each(value()?, |one| positive(key, one))?,
            "--pipeline" => pipeline = positive(key, value()?)?,
            "--only" => only = Some(each(value()?, contender)?),
            "--json" => json = Some(PathBuf::from(value()?)),
            "--idle" => idle = Some(positive(key, value()?)?),
            _ => return Err(Failure::Usage(format!("unknown argument {key:?}"))),
        }
    }

    let options = Options {
        rounds: rounds.unwrap_or(if quick { QUICK_ROUNDS } else { ROUNDS }),
        seconds: seconds
            .map_or(if quick { QUICK_SECONDS } else { SECONDS }, |seconds| seconds as u64),
        workloads: workloads(&connections, pipeline),
        contenders: only.unwrap_or_else(|| match idle {
            None => Contender::ALL.to_vec(),
            Some(_) => vec![Contender::CorelaneConfig, Contender::Nginx],
        }),
        json,
    };
    Ok(match idle {
        Some(connections) => Mode::Idle { connections, options },
        None => Mode::Rounds(options),
    })
}

/// One request at a time over each number of connections, then pipelined over the largest.
fn workloads(connections: &[usize], pipeline: usize) -> Vec<Workload> {
    let mut workloads: Vec<Workload> =
        connections.iter().map(|&connections| Workload { connections, pipeline: 1 }).collect();
    if let Some(&connections) = connections.iter().max()
        && pipeline > 1
    {
        workloads.push(Workload { connections, pipeline });
    }
    workloads
}

fn contender(name: &str) -> Result<Contender, Failure> {
    Contender::ALL.into_iter().find(|contender| contender.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Contender::ALL.iter().map(|known| known.name()).collect();
        Failure::Usage(format!("no contender is called {name:?}; there are {}", names.join(", ")))
    })
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    list.split(',').map(parse).collect()
}

fn positive(key: &str, value: &str) -> Result<usize, Failure> {
    match number(key, value)? {
        0 => Err(Failure::Usage(format!("{key} must be at least 1"))),
        number => Ok(number),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| Failure::Usage(format!("{key}: {value:?} is no such number")))
}
