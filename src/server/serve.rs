//! A worker's main future.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::{accept, admit, welcome_queued};
use super::core::{Core, Mode};
use super::sibling::{Handed, Sibling};
use super::{Balance, Limits, OnPanic, Timeouts};
use futures_lite::FutureExt as _;

use crate::app::App;
use crate::net::{Arming, Listener};
use crate::rt::{JoinHandle, Receiver, sleep, spawn_local};
use crate::stats::{Pulse, WorkerStats};

/// How often a draining worker looks whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What hooks that stop the application have at least, however long the drain has taken.
const STOP_LEAST: Duration = Duration::from_secs(1);

/// What a worker serves, and how.
pub(crate) struct Setup {
    /// Listening sockets to accept from at first.
    pub shares: Vec<Share>,
    /// The application, made on this core.
    pub app: App,
    /// How much clients may send.
    pub limits: Limits,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// What a handler's panic comes to.
    pub on_panic: OnPanic,
    /// Whether fresh connections go to who has the fewest.
    pub balance: Balance,
    /// Where to count.
    pub stats: Arc<WorkerStats>,
    /// Where to say which route is at work.
    pub pulse: Arc<Pulse>,
    /// What the supervisor wants.
    pub orders: Receiver<Order>,
    /// Connections from siblings.
    pub door: Receiver<Handed>,
    /// Messages for the application.
    pub post: Receiver<Box<dyn Any + Send>>,
}

/// A listening socket for a worker.
pub(crate) struct Share {
    /// Names the socket among those of the cluster.
    pub socket: u64,
    /// A descriptor of it, for this worker alone.
    pub descriptor: OwnedFd,
    /// How to accept from it.
    pub arming: Arming,
    /// Arm anew even if it is armed already.
    pub rearm: bool,
}

/// What a supervisor tells a worker.
pub(crate) enum Order {
    /// Accept from these sockets and no others; then say [`Report::Settled`] with this number.
    Listen(u64, Vec<Share>),
    /// These serve, this worker among them.
    Siblings(Arc<[Sibling]>),
    /// Accept no more, give idle connections to siblings, end what was begun, close.
    Retire,
    /// Accept no more, end what was begun, close.
    Drain,
}

/// What a worker tells the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Connections are accepted.
    Listening,
    /// An order to listen has been carried out: nothing is armed on other sockets.
    Settled(u64),
    /// Nothing is armed on any socket, for good.
    Left,
}

/// How a worker ended that was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// Connections that were still open when `timeouts.drain` had passed.
    pub cut: u64,
}

/// Serves until it is told to end and has done so.
///
/// # Errors
/// The application did not start, or a listening socket could not be taken.
pub(crate) async fn serve(setup: Setup, report: impl Fn(Report)) -> io::Result<Served> {
    let Setup { orders, door, post, shares, .. } = setup;
    let Setup { app, limits, timeouts, on_panic, balance, stats, pulse, .. } = setup;
    let longest = timeouts.drain;
    pulse.name_routes(app.patterns());
    let core = Core::new(app, limits, &timeouts, (on_panic, balance), stats, pulse);
    let mut accepting = Accepting { core: Rc::clone(&core), sockets: HashMap::new() };
    let Some(waiting) = start(&core.app, &orders).await? else { return Ok(Served { cut: 0 }) };
    accepting.apply(shares).await.map_err(|error| cannot_listen(&error))?;
    let door = Rc::new(door);
    drop(spawn_local(answer_door(Rc::clone(&core), Rc::clone(&door))));
    drop(spawn_local(read_post(Rc::clone(&core), post)));
    report(Report::Listening);
    let mut waiting = waiting.into_iter();
    let mode = loop {
        let order = match waiting.next() {
            Some(order) => order,
            None => orders.recv().await,
        };
        match order {
            Order::Listen(number, shares) => {
                accepting.apply(shares).await.map_err(|error| cannot_listen(&error))?;
                report(Report::Settled(number));
            }
            Order::Siblings(siblings) => core.meet(siblings),
            Order::Retire => break Mode::Retiring,
            Order::Drain => break Mode::Draining,
        }
    };
    let left = accepting.leave().await;
    if mode == Mode::Draining {
        for listener in &left {
            welcome_queued(&core, listener);
        }
    }
    drop(left);
    report(Report::Left);
    // From now on siblings keep what they would have sent; what they have sent is served.
    door.close();
    while let Some(handed) = door.try_recv() {
        admit(&core, handed);
    }
    let deadline = Instant::now() + longest;
    drain(&core, mode, deadline).await;
    stop_app(&core.app, deadline).await;
    Ok(Served { cut: core.stats.connections.get() })
}

/// Has the application start, and returns the orders that have come meanwhile; `None` if one of
/// them is to end.
async fn start(app: &App, orders: &Receiver<Order>) -> io::Result<Option<Vec<Order>>> {
    let mut waiting = Vec::new();
    let ends = async {
        loop {
            match orders.recv().await {
                Order::Retire | Order::Drain => return Ok(true),
                order => waiting.push(order),
            }
        }
    };
    let started = async { app.start().await.map(|()| false) };
    match started.or(ends).await {
        Ok(false) => Ok(Some(waiting)),
        Ok(true) => Ok(None),
        Err(problem) => Err(io::Error::other(format!("the application failed: {problem}"))),
    }
}

/// Has the application do what is to be done behind the last request, until the time is up.
async fn stop_app(app: &App, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now()).max(STOP_LEAST);
    let late = async {
        sleep(left).await;
        Err(format!("it took longer than {left:?}"))
    };
    if let Err(problem) = app.stop().or(late).await {
        tracing::error!("the application was not stopped in order: {problem}");
    }
}

fn cannot_listen(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("it cannot listen: {error}"))
}

/// The sockets that a worker accepts from.
struct Accepting {
    core: Rc<Core>,
    sockets: HashMap<u64, (Rc<Listener>, JoinHandle<()>)>,
}

impl Accepting {
    /// Accepts from these and no others. When this returns, nothing is armed on others, and what
    /// had been accepted from them is served.
    async fn apply(&mut self, shares: Vec<Share>) -> io::Result<()> {
        let gone = |socket: &u64, _: &mut _| !shares.iter().any(|share| share.socket == *socket);
        let gone: Vec<_> = self.sockets.extract_if(gone).map(|(_, accepting)| accepting).collect();
        drop(stop(gone).await);
        for share in shares {
            match self.sockets.get(&share.socket) {
                Some((listener, _)) if share.rearm => listener.rearm(share.arming),
                Some(_) => {}
                None => {
                    let listener = Rc::new(Listener::new(share.descriptor, share.arming)?);
                    let task = spawn_local(accept(Rc::clone(&self.core), Rc::clone(&listener)));
                    self.sockets.insert(share.socket, (listener, task));
                }
            }
        }
        Ok(())
    }

    /// Accepts no more, from any.
    async fn leave(&mut self) -> Vec<Rc<Listener>> {
        stop(self.sockets.drain().map(|(_, accepting)| accepting).collect()).await
    }
}

/// Stops these; when this returns, what they had accepted is served.
async fn stop(accepting: Vec<(Rc<Listener>, JoinHandle<()>)>) -> Vec<Rc<Listener>> {
    for (listener, _) in &accepting {
        listener.stop();
    }
    let mut stopped = Vec::new();
    for (listener, task) in accepting {
        task.await;
        stopped.push(listener);
    }
    stopped
}

/// Takes in what siblings send.
async fn answer_door(core: Rc<Core>, door: Rc<Receiver<Handed>>) {
    loop {
        let handed = door.recv().await;
        admit(&core, handed);
    }
}

/// Has the application read its messages.
async fn read_post(core: Rc<Core>, post: Receiver<Box<dyn Any + Send>>) {
    loop {
        core.app.deliver(post.recv().await);
    }
}

/// Waits until every connection has ended, or the time is up.
async fn drain(core: &Core, mode: Mode, deadline: Instant) {
    core.leave(mode);
    while core.stats.connections.get() > 0 && Instant::now() < deadline {
        sleep(DRAIN_LOOK).await;
    }
}
