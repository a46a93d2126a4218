//! A worker's main future.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::accept;
use super::core::Core;
use super::{Limits, OnPanic, Timeouts};
use crate::app::App;
use crate::net::{Arming, Listener};
use crate::rt::{Receiver, sleep, spawn_local};
use crate::stats::{Pulse, WorkerStats};

/// How often a draining worker looks whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What a worker serves, and how.
pub(crate) struct Setup {
    /// Listening sockets, for this worker to accept from.
    pub listeners: Vec<OwnedFd>,
    /// The application, made on this core.
    pub app: App,
    /// How much clients may send.
    pub limits: Limits,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// What a handler's panic ends.
    pub on_panic: OnPanic,
    /// Where to count.
    pub stats: Arc<WorkerStats>,
    /// Where to say whose code runs.
    pub pulse: Arc<Pulse>,
    /// What the supervisor wants.
    pub orders: Receiver<Order>,
}

/// What a supervisor tells a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Accept no more, end what was begun, close.
    Drain,
}

/// How a worker ended that was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// Connections that were still open when `timeouts.drain` had passed.
    pub cut: u64,
}

/// Serves until it is told to drain and has done so. `listening` is called once connections are
/// accepted.
///
/// # Errors
/// A listening socket could not be taken.
pub(crate) async fn serve(setup: Setup, listening: impl FnOnce()) -> std::io::Result<Served> {
    let Setup { listeners, app, limits, timeouts, on_panic, stats, pulse, orders } = setup;
    pulse.name_routes(app.patterns());
    let core = Core::new(app, limits, &timeouts, on_panic, stats, pulse);
    let listeners = listeners
        .into_iter()
        .map(|socket| Listener::new(socket, Arming::Accept).map(Rc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let accepting =
        listeners.iter().map(|listener| spawn_local(accept(Rc::clone(&core), Rc::clone(listener))));
    let accepting: Vec<_> = accepting.collect();
    listening();
    let Order::Drain = orders.recv().await;
    for listener in &listeners {
        listener.stop();
    }
    for accept in accepting {
        accept.await;
    }
    drain(&core, timeouts.drain).await;
    Ok(Served { cut: core.stats.connections.get() })
}

/// Waits until every connection has ended, at most as long as `longest`.
async fn drain(core: &Core, longest: Duration) {
    core.drain();
    let deadline = Instant::now() + longest;
    while core.stats.connections.get() > 0 && Instant::now() < deadline {
        sleep(DRAIN_LOOK).await;
    }
}
