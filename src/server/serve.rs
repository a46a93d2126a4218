//! A worker's main future.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Limits, Timeouts};
use crate::app::App;
use crate::rt::Receiver;
use crate::stats::WorkerStats;

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
    /// Where to count.
    pub stats: Arc<WorkerStats>,
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
pub(crate) async fn serve(setup: Setup, listening: impl FnOnce()) -> Served {
    listening();
    let Order::Drain = setup.orders.recv().await;
    Served { cut: setup.stats.connections.get() }
}
