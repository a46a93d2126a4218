//! A running cluster, as the program that embeds it sees it.

use std::fmt;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::Address;
use super::error::SupervisorPanic;
use super::event::Stopped;
use super::fleet::Input;

/// A running cluster; [`Cluster::spawn`](crate::Cluster::spawn) returns it.
///
/// Dropping it ends the cluster as [`shutdown`](Self::shutdown) does and waits for that, at most
/// [`Timeouts::drain`](crate::Timeouts::drain) and a few seconds: no cluster outlives its handle.
#[must_use = "dropping the handle ends the cluster"]
pub struct ClusterHandle {
    pub(super) addresses: Vec<Address>,
    pub(super) cpus: Vec<usize>,
    pub(super) inputs: Sender<Input>,
    /// `None` once it has been joined.
    pub(super) supervisor: Option<JoinHandle<Stopped>>,
}

impl ClusterHandle {
    /// Where the cluster listens, in the order of the calls of `listen`; port 0 is replaced by the
    /// port that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The CPU of each worker.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.cpus.len()
    }

    /// Asks the cluster to accept no more, to end what was begun, and then to end itself. Returns
    /// at once; [`join`](Self::join) waits.
    pub fn drain(&self) {
        // One that has ended needs no order.
        let _ended = self.inputs.send(Input::Drain);
    }

    /// Waits until the cluster has ended, which somebody must have asked for.
    ///
    /// # Errors
    /// The supervisor panicked.
    pub fn join(mut self) -> Result<Stopped, SupervisorPanic> {
        self.wait()
    }

    /// Drains the cluster and waits until it has ended.
    ///
    /// # Errors
    /// The supervisor panicked.
    pub fn shutdown(self) -> Result<Stopped, SupervisorPanic> {
        self.drain();
        self.join()
    }

    fn wait(&mut self) -> Result<Stopped, SupervisorPanic> {
        let Some(supervisor) = self.supervisor.take() else { return Ok(Stopped::default()) };
        supervisor.join().map_err(|payload| SupervisorPanic::from_payload(&*payload))
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.drain();
        // Nobody is left to be told.
        let _stopped = self.wait();
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addresses, cpus, .. } = self;
        f.debug_struct("ClusterHandle").field("addresses", addresses).field("cpus", cpus).finish()
    }
}
