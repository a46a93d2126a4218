//! The other workers of the cluster, as far as connections are passed among them.

use std::any::Any;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::core::Core;
use crate::rt::Sender;
use crate::stats::{Pulse, WorkerStats};

/// A worker that serves, as the others see it.
#[derive(Clone)]
pub(crate) struct Sibling {
    /// Its number.
    pub worker: usize,
    /// Its figures; its gauge of connections is what balance goes by.
    pub stats: Arc<WorkerStats>,
    /// Whether it is awake.
    pub pulse: Arc<Pulse>,
    /// Where it takes connections from others.
    pub door: Sender<Handed>,
    /// Where it takes messages for its application.
    pub post: Sender<Box<dyn Any + Send>>,
}

thread_local! {
    static SIBLINGS: RefCell<Arc<[Sibling]>> = RefCell::new(Arc::new([]));
}

/// The workers that serve, as this worker was last told; none outside a worker.
pub(crate) fn siblings() -> Arc<[Sibling]> {
    SIBLINGS.with_borrow(Arc::clone)
}

/// A connection on its way between workers. The worker that it goes to counts it already.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The connection, of which nothing has been received that is not answered.
    pub socket: OwnedFd,
    /// It has not asked for anything yet.
    pub fresh: bool,
}

impl Core {
    /// Takes note of who serves.
    pub(super) fn meet(&self, siblings: Arc<[Sibling]>) {
        self.lookout.borrow_mut().meet(Arc::clone(&siblings), &self.stats);
        SIBLINGS.set(siblings);
    }

    /// Whether there is anybody to give connections to.
    pub(super) fn has_siblings(&self) -> bool {
        self.lookout.borrow().has_siblings()
    }

    /// Gives a connection to the sibling with the fewest, unless that has more than `most` or
    /// cannot take it: then it comes back.
    ///
    /// The sibling's gauge is raised before it is told, so that others who look for the least
    /// loaded at the same time see it coming.
    pub(super) fn pass_on(&self, handed: Handed, most: u64) -> Result<(), Handed> {
        let now = self.now();
        let mut lookout = self.lookout.borrow_mut();
        let Some(least) = lookout.least(now, most) else { return Err(handed) };
        least.stats.connections.increment();
        least.door.send(handed).inspect_err(|_| least.stats.connections.decrement())
    }
}
