//! One life of a worker: a thread of its own, from birth to the report of its end.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::event::ExitReason;
use super::fleet::Input;
use crate::app::App;
use crate::rt::{self, End, Fault, Receiver, Sender, mailbox};
use crate::server::{self, Limits, OnPanic, Order, Served, Setup, Timeouts};
use crate::stats::{Pulse, WorkerStats};

/// Orders that may wait for a worker.
const ORDERS_MAX: usize = 16;

/// Makes the app of a worker, on its thread.
pub(super) type Factory = Arc<dyn Fn() -> App + Send + Sync>;

/// What every life of every worker of a cluster has in common.
#[derive(Clone)]
pub(super) struct Plan {
    pub factory: Factory,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub on_panic: OnPanic,
}

/// What a life is born with.
pub(super) struct Birth {
    pub worker: usize,
    pub cpu: usize,
    pub plan: Plan,
    pub listeners: Vec<OwnedFd>,
    pub stats: Arc<WorkerStats>,
    pub reports: mpsc::Sender<Input>,
}

/// The supervisor's side of a life.
pub(super) struct Life {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Life {
    /// Starts a worker on a new thread. Its end, however it comes, is reported once.
    pub(super) fn start(birth: Birth) -> io::Result<Self> {
        let (orders, inbox) = mailbox(ORDERS_MAX);
        let name = format!("corelane-w{}", birth.worker);
        let thread = thread::Builder::new().name(name).spawn(move || live(birth, inbox))?;
        Ok(Self { orders, thread })
    }

    /// Leaves an order.
    pub(super) fn order(&self, order: Order) {
        // One whose mailbox is closed has ended: its report is on the way.
        let _ended = self.orders.send(order);
    }

    /// Waits for the thread, which has reported its end.
    pub(super) fn bury(self) {
        // What it panicked with has been reported.
        let _panic = self.thread.join();
    }
}

fn live(birth: Birth, orders: Receiver<Order>) {
    let (worker, reports) = (birth.worker, birth.reports.clone());
    // `run` catches what tasks throw; this is for itself, lest a death go unnoticed.
    let ended = catch_unwind(AssertUnwindSafe(|| run(birth, orders)))
        .unwrap_or_else(|payload| Err(End::Panic(Fault::from_payload(&*payload))));
    // A supervisor that is gone needs no report.
    let _gone = reports.send(Input::Ended(worker, ended.into()));
}

fn run(birth: Birth, orders: Receiver<Order>) -> Result<Served, End> {
    let Birth { worker, cpu, plan, listeners, stats, reports } = birth;
    let name = format!("worker {worker}");
    let options =
        rt::Options { cpu: Some(cpu), stats: Arc::clone(&stats), ..rt::Options::new(name) };
    // The connections of the life before went with it.
    stats.connections.subtract(stats.connections.get());
    let served = rt::run(&options, move || async move {
        let Plan { factory, limits, timeouts, on_panic } = plan;
        let (app, pulse) = (factory(), Arc::new(Pulse::new()));
        let setup = Setup { listeners, app, limits, timeouts, on_panic, stats, pulse, orders };
        let listening = || drop(reports.send(Input::Listening(worker)));
        server::serve(setup, listening).await
    })?;
    served.map_err(|error| End::Start(format!("it cannot listen: {error}")))
}

impl From<Result<Served, End>> for ExitReason {
    fn from(ended: Result<Served, End>) -> Self {
        match ended {
            Ok(Served { cut }) => Self::Drained { cut },
            Err(End::Panic(Fault { message })) => Self::Panic { message },
            Err(end) => Self::Failed { problem: end.to_string() },
        }
    }
}
