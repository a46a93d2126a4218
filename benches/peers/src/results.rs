//! The figures, as they are kept in a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::statistics::Spread;

/// CPU time of the server per request, microseconds.
pub(crate) const CPU: &str = "cpu_microseconds_per_request";
/// Answers per second.
pub(crate) const RATE: &str = "requests_per_second";
/// Latencies, microseconds.
pub(crate) const P50: &str = "p50_microseconds";
pub(crate) const P99: &str = "p99_microseconds";
pub(crate) const P999: &str = "p99.9_microseconds";
/// 1 if the load generator could do no more, else 0.
pub(crate) const SATURATED: &str = "generator_saturated";
/// The rate that was asked for, requests per second.
pub(crate) const ASKED: &str = "rate_asked";
/// Resident bytes per idle connection.
pub(crate) const IDLE_BYTES: &str = "bytes_per_connection";
/// From the start to the first answer, and from a death to the next, milliseconds.
pub(crate) const START_MS: &str = "first_answer_milliseconds";
pub(crate) const DEATH_MS: &str = "next_answer_milliseconds";
/// Resident bytes at the first answer, and the size of the program's file.
pub(crate) const RESIDENT: &str = "resident_bytes";
pub(crate) const BINARY: &str = "binary_bytes";

/// Everything that a run has found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// How each of the runs was made that are put together here.
    pub(crate) methods: Vec<Method>,
    /// Contenders that could not take part.
    pub(crate) missing: Vec<Missing>,
    /// What each answered before it was measured.
    pub(crate) checks: Vec<Check>,
    /// What went wrong; no figures were taken then.
    pub(crate) failures: Vec<Failed>,
    pub(crate) samples: Vec<Sample>,
}

/// What the figures hold for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: u64,
    /// The version of each contender and tool, by name.
    pub(crate) versions: BTreeMap<String, String>,
}

/// How they were taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Method {
    pub(crate) command: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) contender: String,
    pub(crate) why: String,
}

/// What a contender answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) contender: String,
    /// The size of the head of the answer to `GET /`, if that is alike for all.
    pub(crate) head_bytes: Option<usize>,
    /// What was found as it should be.
    pub(crate) right: Vec<String>,
}

/// A cell without figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) workload: String,
    pub(crate) contender: String,
    pub(crate) round: usize,
    pub(crate) what: String,
}

/// One workload on one contender in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) workload: String,
    pub(crate) contender: String,
    pub(crate) round: usize,
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Results {
    /// Nothing yet.
    pub(crate) fn new(machine: Machine, method: Method) -> Results {
        let (missing, checks, failures, samples) = Default::default();
        Results { machine, methods: vec![method], missing, checks, failures, samples }
    }

    /// The results of several runs, whose rounds are put one after another. What the first says
    /// of the machine is taken for all.
    pub(crate) fn merged(files: &[PathBuf]) -> Result<Results, Failure> {
        let mut all: Option<Results> = None;
        for file in files {
            let more = Results::load(file)?;
            match &mut all {
                None => all = Some(more),
                Some(all) => all.append(more),
            }
        }
        all.ok_or_else(|| Failure::Usage("report: no file named".into()))
    }

    fn load(file: &Path) -> Result<Results, Failure> {
        let doing = || format!("reading {}", file.display());
        let text = fs::read_to_string(file).doing(doing())?;
        serde_json::from_str(&text).doing(doing())
    }

    /// Adds a run behind this one. Pairs are made within a round, so rounds never mix.
    fn append(&mut self, more: Results) {
        let begin = self.samples.iter().map(|sample| sample.round).max().unwrap_or(0);
        let after = |round: usize| begin + round;
        self.samples
            .extend(more.samples.into_iter().map(|it| Sample { round: after(it.round), ..it }));
        self.failures
            .extend(more.failures.into_iter().map(|it| Failed { round: after(it.round), ..it }));
        for check in more.checks {
            if self.checks.iter().all(|known| known.contender != check.contender) {
                self.checks.push(check);
            }
        }
        self.missing.extend(more.missing);
        self.machine.versions.extend(more.machine.versions);
        self.methods.extend(more.methods);
    }

    /// Writes them to a file, by way of another that takes its place.
    pub(crate) fn save(&self, file: &Path) -> Result<(), Failure> {
        let doing = || format!("writing {}", file.display());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).doing(doing())?;
        }
        let mut text = serde_json::to_string(self).doing(doing())?;
        // A line per sample: readable, and small differences stay small.
        text = text.replace("},{\"workload\"", "},\n{\"workload\"").replace("\":[{", "\":[\n{");
        let fresh = file.with_extension("json.new");
        fs::write(&fresh, text + "\n").doing(doing())?;
        fs::rename(&fresh, file).doing(doing())
    }

    /// The figure of each round, by round.
    pub(crate) fn by_round(
        &self,
        workload: &str,
        contender: Contender,
        figure: &str,
    ) -> BTreeMap<usize, f64> {
        let name = contender.name();
        let mine = self.samples.iter().filter(|it| it.workload == workload && it.contender == name);
        mine.filter_map(|it| Some((it.round, *it.figures.get(figure)?))).collect()
    }

    /// The spread of a figure over the rounds.
    pub(crate) fn spread(
        &self,
        workload: &str,
        contender: Contender,
        figure: &str,
    ) -> Option<Spread> {
        Spread::of(self.by_round(workload, contender, figure).into_values())
    }

    /// A figure of two cells, round by round where both have it.
    pub(crate) fn pairs(
        &self,
        figure: &str,
        (workload, contender): (&str, Contender),
        (other_workload, other): (&str, Contender),
    ) -> Vec<(f64, f64)> {
        let others = self.by_round(other_workload, other, figure);
        let mine = self.by_round(workload, contender, figure);
        mine.iter().filter_map(|(round, one)| Some((*one, *others.get(round)?))).collect()
    }
}
