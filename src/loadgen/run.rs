//! Carries out a plan.

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use super::schedule::nanos;
use super::tally::Tally;
use super::thread::{Account, Thread, drive};
use super::{Outcome, Pace, Plan, Target};
use crate::rt::{self, Registry};
use crate::stats::Pulse;
use crate::sys::cpu::AllowedCpus;
use crate::sys::limits::Limits;

/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long before the start all threads are told when it is.
const NOTICE: Duration = Duration::from_millis(5);

/// What others may see of a run, and do to it. One is for one run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Answers and errors so far, those of the warm-up not counted.
    pub done: AtomicU64,
    /// Set once the warm-up is over.
    pub measuring: AtomicBool,
    /// Set it to end the run early.
    pub stop: AtomicBool,
}

/// Why a run could not be begun, or not be ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// No connection could be made at all.
    #[error("cannot connect to {target}: {error}")]
    Connect { target: String, error: io::Error },
    /// A thread of the generator failed.
    #[error("a load thread failed: {problem}")]
    Thread { problem: String },
}

/// What all threads are told.
#[derive(Debug, Default)]
pub(super) struct Gate {
    start: OnceLock<Instant>,
    stop: AtomicBool,
}

impl Gate {
    /// When requests may be sent, once that is known.
    pub(super) fn start(&self) -> Option<Instant> {
        self.start.get().copied()
    }

    /// Whether the run is to end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What one thread tells.
#[derive(Debug, Default)]
pub(super) struct Lane {
    ready: AtomicBool,
    failed: AtomicBool,
    done: AtomicU64,
}

impl Lane {
    /// Its connections have been made.
    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// It has counted so many answers and errors.
    pub(super) fn set_done(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }
}

/// Loads the server as planned, and returns when that is over.
///
/// A first connection is made, and closed, to find the address that can be reached.
///
/// # Errors
///
/// If the server cannot be reached at the start, or a thread cannot be started or dies.
pub(crate) fn run(plan: &Plan, progress: &Progress) -> Result<Outcome, RunError> {
    let address = reach(plan)?;
    Limits::raise();
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let failed = |error: io::Error| RunError::Thread { problem: error.to_string() };
    let cpus = AllowedCpus::capture().map_err(failed)?;
    let plan = Arc::new(Plan { connections: plan.connections.max(1), ..plan.clone() });
    let mut crew = Crew { gate: Arc::default(), lanes: Vec::new(), threads: Vec::new() };
    for index in 0..threads {
        let cpu = cpus.ids()[index % cpus.ids().len()];
        let (plan, address) = (Arc::clone(&plan), address.clone());
        let (gate, lane) = (Arc::clone(&crew.gate), Arc::new(Lane::default()));
        crew.lanes.push(Arc::clone(&lane));
        let failing = Arc::clone(&lane);
        let builder = std::thread::Builder::new().name(format!("load-{index}"));
        let spawned = builder.spawn(move || {
            rt::run(&options(cpu, index), move || async move {
                let thread = Rc::new(Thread::new(plan, address, index, threads));
                drive(thread, gate, lane).await
            })
            .map_err(|end| {
                failing.failed.store(true, Ordering::Relaxed);
                end.to_string()
            })
        });
        crew.threads.push(spawned.map_err(failed)?);
    }
    let accounts = crew.oversee(&plan, progress)?;
    Ok(outcome(&plan, &accounts))
}

fn options(cpu: usize, index: usize) -> rt::Options {
    rt::Options {
        cpu: Some(cpu),
        name: format!("load-{index}"),
        stats: Arc::default(),
        pulse: Arc::new(Pulse::new()),
        registry: Registry::default(),
    }
}

/// The first of the target's addresses that can be reached.
fn reach(plan: &Plan) -> Result<SockAddr, RunError> {
    let attempt = |address: SockAddr| {
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        match socket.connect_timeout(&address, plan.timeout) {
            // The queue of a Unix socket is full, so somebody listens.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(address),
            connected => connected.map(|()| address),
        }
    };
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    let target = match &plan.target {
        Target::Unix(path) => {
            result = SockAddr::unix(path).and_then(attempt);
            format!("unix:{}", path.display())
        }
        Target::Tcp(addresses) => {
            for address in addresses {
                result = attempt(SockAddr::from(*address));
                if result.is_ok() {
                    break;
                }
            }
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    };
    result.map_err(|error| RunError::Connect { target, error })
}

/// The threads of a run. They end when it goes.
struct Crew {
    gate: Arc<Gate>,
    lanes: Vec<Arc<Lane>>,
    threads: Vec<JoinHandle<Result<Account, String>>>,
}

impl Crew {
    /// Starts the run when all threads are ready, and passes on what is to be seen and what is to
    /// be done, until it is over. It ends early when a thread has failed.
    fn oversee(mut self, plan: &Plan, progress: &Progress) -> Result<Vec<Account>, RunError> {
        loop {
            let ready = self.lanes.iter().all(|lane| lane.ready.load(Ordering::Relaxed));
            let failed = self.lanes.iter().any(|lane| lane.failed.load(Ordering::Relaxed));
            let stopped = failed || progress.stop.load(Ordering::Relaxed);
            if stopped {
                self.gate.stop.store(true, Ordering::Relaxed);
            }
            if ready || stopped {
                self.gate.start.get_or_init(|| Instant::now() + NOTICE);
            }
            let begun = |start: Instant| start.elapsed() >= plan.warm_up && Instant::now() >= start;
            if self.gate.start().is_some_and(begun) {
                progress.measuring.store(true, Ordering::Relaxed);
            }
            let done = self.lanes.iter().map(|lane| lane.done.load(Ordering::Relaxed)).sum();
            progress.done.store(done, Ordering::Relaxed);
            if self.threads.iter().all(JoinHandle::is_finished) {
                return std::mem::take(&mut self.threads).into_iter().map(joined).collect();
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.gate.stop.store(true, Ordering::Relaxed);
        self.gate.start.get_or_init(Instant::now);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

fn joined(thread: JoinHandle<Result<Account, String>>) -> Result<Account, RunError> {
    let ended = thread.join().unwrap_or_else(|_| Err("it panicked".to_owned()));
    ended.map_err(|problem| RunError::Thread { problem })
}

fn outcome(plan: &Plan, accounts: &[Account]) -> Outcome {
    let mut tally = Tally::new();
    for account in accounts {
        tally.merge(&account.tally);
    }
    let ended = accounts.iter().map(|account| account.ended).max().unwrap_or(0);
    let longest = if tally.latency.is_empty() { 0 } else { tally.latency.max() };
    let waiting = accounts.iter().flat_map(|account| account.waiting.iter().copied());
    let waiting: Vec<_> = waiting.filter(|waited| *waited > longest).collect();
    let statuses = (0..).zip(&tally.statuses).filter(|(_, count)| **count > 0);
    Outcome {
        elapsed: Duration::from_nanos(ended.saturating_sub(nanos(plan.warm_up))),
        statuses: statuses.map(|(status, count)| (status, *count)).collect(),
        latency: tally.latency,
        late: (plan.pace != Pace::Closed).then_some(tally.late),
        sent: tally.sent,
        received: tally.received,
        errors: tally.errors,
        retried: tally.retried,
        unsent: tally.unsent,
        unanswered: waiting.len() as u64,
        unanswered_for: Duration::from_nanos(waiting.into_iter().max().unwrap_or(0)),
        cpu: accounts.iter().map(|account| account.cpu).collect(),
        interrupted: accounts.iter().any(|account| account.interrupted),
    }
}
