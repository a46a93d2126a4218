//! Round after round, every contender in turn.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::contender::Contender;
use crate::failure::Failure;
use crate::launch::{self, Stop, interrupted};
use crate::load::Generator;
use crate::options::{Options, Plan};
use crate::results::{Failed, RATE, Results, Sample};
use crate::server::Server;
use crate::special;
use crate::websocket;
use crate::workload::{CONNECTIONS, Kind, Workload, hello};
use crate::workshop::Shop;
use crate::{CLIENT_CPU, note};

/// The row that a framework's peak is read from.
const PEAK: &str = "hello-64";

/// The most rounds for what hardly varies and takes long.
const IDLE_ROUNDS: usize = 3;

/// Measures all that is asked for. What there is stays in `results` when it is interrupted.
pub(crate) fn rounds(
    options: &Options,
    shop: &Shop,
    results: &mut Results,
    stop: &Stop,
) -> Result<(), Failure> {
    launch::pin(CLIENT_CPU)?;
    let is_rate = |workload: &&Workload| matches!(workload.kind, Kind::Rate { .. });
    let (rates, others): (Vec<_>, Vec<_>) = options.workloads.iter().partition(is_rate);
    let mut run = Run {
        shop,
        plan: options.plan,
        generator: Generator::new(shop, options.plan, stop)?,
        stop,
        results,
        peak: None,
        done: 0,
        cells: 0,
        begun: Instant::now(),
    };
    run.cells = run.cells_of(&options.workloads);
    let measured = run.phase(&others).and_then(|()| {
        if rates.is_empty() {
            return Ok(());
        }
        run.peak = run.slowest_peak()?;
        run.phase(&rates)
    });
    match measured {
        Err(Failure::Interrupted) => Ok(()),
        other => other,
    }
}

struct Run<'run> {
    shop: &'run Shop,
    plan: Plan,
    generator: Generator<'run>,
    stop: &'run Stop,
    results: &'run mut Results,
    /// Requests per second of the slowest framework.
    peak: Option<f64>,
    done: usize,
    cells: usize,
    begun: Instant,
}

impl Run<'_> {
    /// All rounds of some workloads. Those with as many workers share a server.
    fn phase(&mut self, workloads: &[&Workload]) -> Result<(), Failure> {
        let mut by_workers: BTreeMap<usize, Vec<&Workload>> = BTreeMap::new();
        for &workload in workloads {
            by_workers.entry(workload.workers).or_default().push(workload);
        }
        for round in 1..=self.plan.rounds {
            for (&workers, workloads) in &by_workers {
                for contender in self.order(round) {
                    let before = self.done;
                    self.visit(round, workers, contender, workloads)?;
                    if self.done > before {
                        self.progress(round, contender);
                    }
                }
            }
        }
        Ok(())
    }

    /// Who comes when: another first each round, and backwards every other, so that no drift of the
    /// machine favours anybody.
    fn order(&self, round: usize) -> Vec<Contender> {
        let mut order = self.shop.contenders();
        let begin = round % order.len();
        order.rotate_left(begin);
        if round.is_multiple_of(2) {
            order.reverse();
        }
        order
    }

    /// One contender's turn: a fresh server under each of its workloads.
    fn visit(
        &mut self,
        round: usize,
        workers: usize,
        contender: Contender,
        workloads: &[&Workload],
    ) -> Result<(), Failure> {
        let mine: Vec<&Workload> =
            workloads.iter().copied().filter(|it| is_due(it, contender, round)).collect();
        let mut server = None;
        for workload in mine {
            if interrupted(self.stop) {
                return Err(Failure::Interrupted);
            }
            let figures = self.cell(contender, workers, workload, &mut server);
            let (workload, name) = (workload.id.clone(), contender.name().to_owned());
            match figures {
                Ok(figures) => {
                    self.results.samples.push(Sample { workload, contender: name, round, figures });
                }
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(failure) => {
                    let what = failure.to_string();
                    note(&format!("round {round}, {workload}: {what}"));
                    self.results.failures.push(Failed { workload, contender: name, round, what });
                    // The next workload gets another, in case this one has suffered.
                    server = None;
                }
            }
            self.done += 1;
        }
        Ok(())
    }

    fn cell(
        &self,
        contender: Contender,
        workers: usize,
        workload: &Workload,
        server: &mut Option<Server>,
    ) -> Result<BTreeMap<String, f64>, Failure> {
        let fresh = || Server::start(contender, workers, self.shop);
        match &workload.kind {
            // Memory that others have used would be in the way, and a worker's death in theirs.
            Kind::Idle { connections } => return special::idle(&fresh()?, *connections),
            Kind::Death { deaths } => return special::death(&fresh()?, *deaths),
            Kind::Start => return special::start(contender, self.shop),
            Kind::Load(_) | Kind::Rate { .. } | Kind::WebSocket { .. } => {}
        }
        let server = match server {
            Some(server) => server,
            None => server.insert(fresh()?),
        };
        match &workload.kind {
            Kind::Load(load) => self.generator.run(server, load, None),
            Kind::WebSocket { connections } => websocket::load(server, *connections, self.plan),
            Kind::Rate { percent } => {
                let no_peak = || server.failed("no framework has a peak to take the rate from");
                let rate = self.peak.ok_or_else(no_peak)? * f64::from(*percent) / 100.0;
                self.generator.run(server, &hello(CONNECTIONS), Some(rate))
            }
            Kind::Idle { .. } | Kind::Death { .. } | Kind::Start => Ok(BTreeMap::new()),
        }
    }

    /// The median peak of the slowest framework in this run, which is measured now if it was not.
    fn slowest_peak(&mut self) -> Result<Option<f64>, Failure> {
        let take_part = self.shop.contenders();
        let mut peaks = Vec::new();
        for framework in Contender::FRAMEWORKS.into_iter().filter(|it| take_part.contains(it)) {
            let measured = self.results.spread(PEAK, framework, RATE).map(|it| it.median);
            if let Some(peak) = measured {
                peaks.push(peak);
                continue;
            }
            let server = Server::start(framework, 1, self.shop)?;
            peaks.push(self.generator.run(&server, &hello(CONNECTIONS), None)?[RATE]);
        }
        Ok(peaks.into_iter().min_by(f64::total_cmp))
    }

    fn cells_of(&self, workloads: &[Workload]) -> usize {
        let all = self.shop.contenders();
        let due = |round: usize, it: &Workload| {
            all.iter().filter(|contender| is_due(it, **contender, round)).count()
        };
        let rounds = 1..=self.plan.rounds;
        rounds.map(|round| workloads.iter().map(|it| due(round, it)).sum::<usize>()).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52, where f64 begins to round")]
    fn progress(&self, round: usize, contender: Contender) {
        let share = self.done as f64 / self.cells.max(1) as f64;
        let left = self.begun.elapsed().mul_f64(1.0 / share.max(0.001) - 1.0).as_secs();
        let (name, rounds) = (contender.name(), self.plan.rounds);
        let (share, minutes, seconds) = (share * 100.0, left / 60, left % 60);
        note(&format!(
            "{share:3.0} % done, {minutes}:{seconds:02} left: round {round} of {rounds}, {name}"
        ));
    }
}

/// Whether it is measured of this contender in this round.
fn is_due(workload: &Workload, contender: Contender, round: usize) -> bool {
    let often = !matches!(workload.kind, Kind::Idle { .. }) || round <= IDLE_ROUNDS;
    workload.applies(contender) && often
}
