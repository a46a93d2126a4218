//! One run after another, with somebody who watches it and who may be told to stop.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::exit::Failure;
use super::bar::Bar;
use super::meter::Meter;
use super::options::Side;
use crate::loadgen::{self, Figures, Outcome, Plan, Progress, RunError, Until};
use crate::sys::signal::{Signal, Signals};

/// How often the bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often somebody looks whether the measurement has begun or ended, when that is near.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How much sooner than the load the meter ends: the engine tells what happens up to 10 ms late.
const MARGIN: Duration = Duration::from_millis(20);
/// What an exit code that a signal forced begins at.
const SIGNAL_BASE: i32 = 128;

/// What came of measuring one server.
pub(super) struct Measured {
    /// Everything that is said of it.
    pub figures: Figures,
    /// Its latencies, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Carries out runs, until it is told to stop.
pub(super) struct Driver {
    notices: Sender<Notice>,
    inbox: Receiver<Notice>,
    stopped: bool,
}

enum Notice {
    /// Somebody has asked for the end.
    Stop,
    /// The run is over, one way or the other.
    Over,
}

/// Says when a run is over, also if it panics.
struct Bell(Sender<Notice>);

impl Drop for Bell {
    fn drop(&mut self) {
        // Without anybody who listens there is nobody to tell.
        let _heard = self.0.send(Notice::Over);
    }
}

impl Driver {
    /// Takes the signals over that ask for an end: [`measure`](Self::measure) obeys the first, the
    /// second ends the process.
    pub(super) fn new() -> Result<Self, Failure> {
        let failed = |what| move |error| Failure::System { what, error };
        let signals = Signals::listen().map_err(failed("cannot listen for signals"))?;
        let (notices, inbox) = mpsc::channel();
        let told = notices.clone();
        let watch = thread::Builder::new().name("corelane-signal".to_owned());
        watch
            .spawn(move || watch_signals(signals, &told))
            .map_err(failed("cannot start a thread"))?;
        Ok(Self { notices, inbox, stopped: false })
    }

    /// Whether it was told to stop.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Measures a server; told to stop, it takes what there is. The label is for the bar.
    pub(super) fn measure(&mut self, side: &Side, label: &str) -> Result<Measured, Failure> {
        let plan = &side.plan;
        let progress = Progress::default();
        let mut meter = side.tree.clone().map(|(pid, tree)| Meter::new(pid, tree));
        let outcome = thread::scope(|scope| {
            let bell = Bell(self.notices.clone());
            let load = || {
                let _bell = bell;
                loadgen::run(plan, &progress)
            };
            let load =
                thread::Builder::new().name("corelane-load".to_owned()).spawn_scoped(scope, load);
            let load =
                load.map_err(|error| Failure::System { what: "cannot start a thread", error })?;
            self.attend(plan, &progress, &mut meter, &Bar::new(label, plan));
            let panicked = |_| RunError::Thread { problem: "it panicked".to_owned() };
            load.join().map_err(panicked).and_then(|outcome| outcome).map_err(failure)
        })?;
        let whole = match plan.until {
            // What is due in an open loop may be answered after its end.
            Until::Elapsed(duration) => Some(outcome.elapsed.min(duration)),
            Until::Requests(_) => None,
        };
        let used = meter.and_then(|meter| meter.used(whole));
        let asked = (side.method.as_str(), side.target.as_str());
        let figures = Figures::of(asked, plan, &outcome, used);
        let Outcome { latency, .. } = outcome;
        Ok(Measured { figures, latency })
    }

    /// Watches a run until it is over.
    fn attend(&mut self, plan: &Plan, progress: &Progress, meter: &mut Option<Meter>, bar: &Bar) {
        let begun = Instant::now();
        let mut measuring: Option<Instant> = None;
        let mut drawn = begun;
        loop {
            let near = meter.as_ref().filter(|meter| meter.runs());
            let near = near.map(|_| next_look(plan, begun, measuring, Instant::now()));
            match self.inbox.recv_timeout(near.unwrap_or(DRAW_EVERY)) {
                Ok(Notice::Over) => break,
                Ok(Notice::Stop) => {
                    self.stopped = true;
                    progress.stop.store(true, Ordering::Relaxed);
                    meter.as_mut().map(Meter::end);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the driver holds a sender itself")
                }
            }
            if measuring.is_none() && progress.measuring.load(Ordering::Acquire) {
                measuring = Some(Instant::now());
                meter.as_mut().map(Meter::begin);
            }
            let done = progress.done.load(Ordering::Relaxed);
            if measuring.is_some_and(|since| is_done(plan.until, since.elapsed(), done)) {
                meter.as_mut().map(Meter::end);
            }
            if drawn.elapsed() >= DRAW_EVERY {
                drawn = Instant::now();
                if measuring.is_none() {
                    meter.as_mut().map(Meter::look);
                }
                bar.show(measuring.map(|since| since.elapsed()), done);
            }
        }
        meter.as_mut().map(Meter::end);
    }
}

/// How long nobody has to look, for the meter's sake.
fn next_look(plan: &Plan, begun: Instant, measuring: Option<Instant>, now: Instant) -> Duration {
    let at = match (measuring, plan.until) {
        // The engine begins to warm up a little later than it was started.
        (None, _) => begun + plan.warm_up,
        (Some(since), Until::Elapsed(duration)) => since + metered(duration),
        (Some(_), Until::Requests(_)) => now,
    };
    at.saturating_duration_since(now).clamp(LOOK_EVERY, DRAW_EVERY)
}

/// How long the meter runs: to a little before the load ends, because then the server idles.
fn metered(duration: Duration) -> Duration {
    duration.saturating_sub(MARGIN.min(duration / 10))
}

/// Whether the meter is to end.
fn is_done(until: Until, elapsed: Duration, done: u64) -> bool {
    match until {
        Until::Elapsed(duration) => elapsed >= metered(duration),
        Until::Requests(count) => done >= count,
    }
}

fn failure(error: RunError) -> Failure {
    let hint = match error {
        RunError::Connect { .. } => "start the server, or check the address",
        RunError::Thread { .. } => "is io_uring allowed here? `corelane run` says why if it is not",
    };
    Failure::Load { error, hint }
}

/// Passes on that somebody asked for the end; ends the process when it is asked again.
fn watch_signals(mut signals: Signals, notices: &Sender<Notice>) {
    let mut ending = false;
    while let Some(signal) = signals.wait() {
        match signal {
            Signal::Terminate | Signal::Interrupt | Signal::Reload if ending => {
                std::process::exit(SIGNAL_BASE + signal.number());
            }
            Signal::Terminate | Signal::Interrupt | Signal::Reload => ending = true,
            Signal::Reopen => continue,
        }
        if notices.send(Notice::Stop).is_err() {
            return;
        }
    }
}
