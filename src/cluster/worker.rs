//! One life of a worker: a thread of its own, from birth to the report of its end.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use super::event::{ExitReason, Message};
use super::fleet::{Input, LEFT, LifeId};
use super::supervisor::News;
use super::workers;
use crate::app::App;
use crate::rt::{self, End, Fault, Receiver, Registry, Sender, mailbox};
use crate::server::{
    self, Balance, Handed, Limits, OnPanic, Order, Report, Served, Setup, Share, Sibling, Timeouts,
};
use crate::stats::{Pulse, WorkerStats};
use crate::sys::thread::{self as kernel_thread, ThreadId};

/// Orders that may wait in a worker's box; those beyond wait with the supervisor.
const ORDERS_MAX: usize = 64;
/// Messages for the application that may wait for a worker.
const POST_MAX: usize = 256;
/// Connections from siblings that may wait for a worker.
const DOOR_MAX: usize = 1024;

/// Makes the app of a worker, on its thread.
pub(super) type Factory = Arc<dyn Fn() -> App + Send + Sync>;

/// What every life of every worker of a cluster has in common.
#[derive(Clone)]
pub(super) struct Plan {
    pub factory: Factory,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub on_panic: OnPanic,
    pub balance: Balance,
    /// Whether each worker is kept on its CPU.
    pub pinned: bool,
}

/// What a life is born with.
pub(super) struct Cradle {
    pub id: LifeId,
    pub worker: usize,
    pub cpu: usize,
    pub plan: Plan,
    pub shares: Vec<Share>,
    pub news: mpsc::Sender<News>,
}

/// The supervisor's side of a life.
pub(super) struct Life {
    pub worker: usize,
    pub stats: Arc<WorkerStats>,
    pub pulse: Arc<Pulse>,
    /// It has said that it accepts connections.
    pub listening: bool,
    /// It has been told to end.
    pub leaves: bool,
    /// Its thread, known once it runs.
    pub id: Arc<OnceLock<ThreadId>>,
    orders: Sender<Order>,
    /// What did not fit into its box. Of several that say who serves only the last is kept.
    backlog: VecDeque<Order>,
    door: Sender<Handed>,
    post: Sender<Box<dyn Any + Send>>,
    registry: Registry,
    thread: JoinHandle<()>,
}

impl Life {
    /// Starts a worker on a new thread. Its end, however it comes, is reported once.
    pub(super) fn start(cradle: Cradle) -> io::Result<Self> {
        let (orders, inbox) = mailbox(ORDERS_MAX);
        let (door, visitors) = mailbox(DOOR_MAX);
        let (post, letters) = mailbox(POST_MAX);
        let (stats, pulse) = (Arc::<WorkerStats>::default(), Arc::new(Pulse::new()));
        let (id, registry) = (Arc::<OnceLock<ThreadId>>::default(), Registry::default());
        let ends = Ends {
            stats: Arc::clone(&stats),
            pulse: Arc::clone(&pulse),
            registry: registry.clone(),
            id: Arc::clone(&id),
            inbox,
            visitors,
            letters,
        };
        let worker = cradle.worker;
        let name = format!("corelane-w{worker}");
        let thread = thread::Builder::new().name(name).spawn(move || live(cradle, ends))?;
        Ok(Self {
            worker,
            stats,
            pulse,
            listening: false,
            leaves: false,
            id,
            orders,
            backlog: VecDeque::new(),
            door,
            post,
            registry,
            thread,
        })
    }

    /// Leaves an order, behind those that are still to be left.
    pub(super) fn order(&mut self, order: Order) {
        if let Order::Siblings(_) = order {
            self.backlog.retain(|earlier| !matches!(earlier, Order::Siblings(_)));
        }
        self.backlog.push_back(order);
        self.leave_orders();
    }

    /// Leaves as many of the orders as fit. One that has ended takes none: its report is on the
    /// way.
    pub(super) fn leave_orders(&mut self) {
        while let Some(order) = self.backlog.pop_front() {
            if let Err(order) = self.orders.send(order) {
                return self.backlog.push_front(order);
            }
        }
    }

    /// Sends a connection, which counts here from now on; back if it has ended.
    pub(super) fn admit(&self, handed: Handed) -> Result<(), Handed> {
        self.stats.connections.increment();
        self.door.send(handed).inspect_err(|_| self.stats.connections.decrement())
    }

    /// As its siblings see it.
    pub(super) fn sibling(&self) -> Sibling {
        Sibling {
            worker: self.worker,
            stats: Arc::clone(&self.stats),
            pulse: Arc::clone(&self.pulse),
            door: self.door.clone(),
            post: self.post.clone(),
        }
    }

    /// Shuts down its connections from outside; returns how many.
    pub(super) fn release(&self) -> usize {
        self.registry.shut_down_all()
    }

    /// Takes no more connections from siblings. Returns those that were sent to it and that it has
    /// not seen; they no longer count here.
    pub(super) fn close_door(&self) -> Vec<Handed> {
        close(&self.door, &self.stats)
    }

    /// Waits for the thread, which has reported its end. Returns the connections that were sent to
    /// it and that it has not seen.
    pub(super) fn bury(self) -> Vec<Handed> {
        let Self { thread, orders, door, post, stats, .. } = self;
        // What it panicked with has been reported.
        let _panic = thread.join();
        while orders.take_back().is_some() {}
        while post.take_back().is_some() {}
        close(&door, &stats)
    }
}

fn close(door: &Sender<Handed>, stats: &WorkerStats) -> Vec<Handed> {
    door.close();
    let unseen: Vec<_> = std::iter::from_fn(|| door.take_back()).collect();
    stats.connections.subtract(unseen.len() as u64);
    unseen
}

/// What a life shares with the supervisor.
struct Ends {
    stats: Arc<WorkerStats>,
    pulse: Arc<Pulse>,
    registry: Registry,
    id: Arc<OnceLock<ThreadId>>,
    inbox: Receiver<Order>,
    visitors: Receiver<Handed>,
    letters: Receiver<Box<dyn Any + Send>>,
}

fn live(cradle: Cradle, ends: Ends) {
    let (id, news) = (cradle.id, cradle.news.clone());
    // Set once: this is the life's only thread.
    let _set = ends.id.set(kernel_thread::current());
    workers::enter(cradle.worker, {
        let (worker, news) = (cradle.worker, news.clone());
        // A supervisor that is gone needs no reports.
        move |message| drop(news.send(News::Reported(worker, Message(message))))
    });
    // `run` catches what tasks throw; this is for itself, lest a death go unnoticed.
    let ended = catch_unwind(AssertUnwindSafe(|| run(cradle, ends)))
        .unwrap_or_else(|payload| Err(End::Panic(Fault::from_payload(&*payload))));
    // A supervisor that is gone needs no report.
    let _gone = news.send(News::Life(Input::Ended(id, ended.into())));
}

fn run(cradle: Cradle, ends: Ends) -> Result<Served, End> {
    let Cradle { id, worker, cpu, plan, shares, news } = cradle;
    let Ends { stats, pulse, registry, inbox, visitors, letters, .. } = ends;
    let options = rt::Options {
        cpu: plan.pinned.then_some(cpu),
        name: format!("worker {worker}"),
        stats: Arc::clone(&stats),
        pulse: Arc::clone(&pulse),
        registry,
    };
    let served = rt::run(&options, move || async move {
        let Plan { factory, limits, timeouts, on_panic, balance, .. } = plan;
        let app = factory();
        let (orders, door, post) = (inbox, visitors, letters);
        let setup = Setup {
            shares,
            app,
            limits,
            timeouts,
            on_panic,
            balance,
            stats,
            pulse,
            orders,
            door,
            post,
        };
        let report = |report| {
            let input = match report {
                Report::Listening => Input::Listening(id),
                Report::Settled(order) => Input::Settled(id, order),
                Report::Left => Input::Settled(id, LEFT),
            };
            drop(news.send(News::Life(input)));
        };
        server::serve(setup, report).await
    })?;
    served.map_err(|error| End::Start(error.to_string()))
}

impl From<Result<Served, End>> for ExitReason {
    fn from(ended: Result<Served, End>) -> Self {
        match ended {
            Ok(Served { cut }) => Self::Drained { cut },
            Err(End::Panic(Fault { message, location })) => Self::Panic { message, location },
            Err(end) => Self::Failed { problem: end.to_string() },
        }
    }
}
