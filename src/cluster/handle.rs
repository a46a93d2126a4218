//! A running cluster, as the program that embeds it sees it.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use super::error::{ChangeError, SupervisorPanic};
use super::event::{Event, Stopped};
use super::roster::Roster;
use super::supervisor::{Answer, News};
use super::workers::post;
use super::{Address, Cluster, Instances, SendError};
use crate::stats::ClusterStats;

/// A running cluster; [`Cluster::spawn`](crate::Cluster::spawn) returns it.
///
/// Dropping it ends the cluster as [`shutdown`](Self::shutdown) does and waits for that, at most
/// [`Timeouts::drain`](crate::Timeouts::drain) and a few seconds: no cluster outlives its handle.
#[must_use = "dropping the handle ends the cluster"]
pub struct ClusterHandle {
    pub(super) roster: Arc<Roster>,
    pub(super) news: Sender<News>,
    /// `None` once it has been joined.
    pub(super) supervisor: Option<JoinHandle<Stopped>>,
}

impl ClusterHandle {
    /// Where the cluster listens, in the order of the calls of `listen`; port 0 is replaced by the
    /// port that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.roster.addresses()
    }

    /// Where the cluster serves its metrics, if it does: `/metrics` there.
    #[must_use]
    pub fn metrics(&self) -> Option<Address> {
        self.roster.metrics()
    }

    /// The CPU of each worker.
    #[must_use]
    pub fn cpus(&self) -> Vec<usize> {
        self.roster.cpus()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.roster.cpus().len()
    }

    /// What the workers have counted so far. Nobody is asked or stopped.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        self.roster.stats()
    }

    /// Has so many workers from now on, or as many as [`Instances`] says, and returns when they
    /// serve. No request is lost: new workers are started before any socket is theirs, and those
    /// that go hand their idle connections on and end what they have begun.
    ///
    /// # Errors
    /// A new worker did not start, another change is under way, or the cluster ends: then nothing
    /// has changed. So it is in an observer, which must not wait for the supervisor that calls it.
    pub fn scale(&self, instances: impl Into<Instances>) -> Result<(), ChangeError> {
        let cpus = self.roster.cpus_for(instances.into());
        self.ask(|answer| News::Scale(cpus, answer)).map(drop)
    }

    /// Gives every worker a new life, with the app, the limits, the addresses and everything else
    /// of `next`, but its observers. Returns when the new lives serve. No request is lost, and no
    /// connection on an address that stays.
    ///
    /// # Errors
    /// `next` cannot be started, another change is under way, or the cluster ends: then nothing has
    /// changed.
    pub fn reload(&self, next: Cluster) -> Result<(), ChangeError> {
        self.prepare(next)?.commit()
    }

    /// Does all of [`reload`](Self::reload) that can fail.
    pub(crate) fn prepare(&self, next: Cluster) -> Result<Prepared, ChangeError> {
        let renewal = next.renewal().map_err(|error| ChangeError { problem: error.to_string() })?;
        let ticket = self.ask(|answer| News::Renew(Box::new(renewal), answer))?;
        Ok(Prepared { news: self.news.clone(), ticket, decided: false })
    }

    /// Has the supervisor do something, and waits for what it says.
    fn ask(&self, what: impl FnOnce(Answer) -> News) -> Result<u64, ChangeError> {
        if self.is_supervisors() {
            let problem = "an observer is called by the supervisor, and cannot wait for it; \
                 hint: do so on another thread";
            return Err(ChangeError { problem: problem.to_owned() });
        }
        ask(&self.news, what)
    }

    /// Whether this is the supervisor's thread, which calls the observers.
    fn is_supervisors(&self) -> bool {
        let supervisor = self.supervisor.as_ref().map(|supervisor| supervisor.thread().id());
        supervisor == Some(std::thread::current().id())
    }

    /// What happens from now on, as it happens. Who does not read it pays with memory.
    #[must_use]
    pub fn events(&self) -> Receiver<Event> {
        let (events, receiver) = mpsc::channel();
        let watch = move |event: &Event| {
            // Nobody listens any more.
            let _deaf = events.send(event.clone());
        };
        // One that has ended says no more.
        let _ended = self.news.send(News::Watch(Box::new(watch)));
        receiver
    }

    /// Leaves a message for one worker; see [`Workers`](crate::Workers).
    ///
    /// # Errors
    /// The worker does not serve, or has too much to read.
    pub fn send<M: Any + Send>(&self, worker: usize, message: M) -> Result<(), SendError<M>> {
        match self.roster.serving().iter().find(|sibling| sibling.worker == worker) {
            Some(sibling) => post(sibling, message),
            None => Err(SendError::Absent(message)),
        }
    }

    /// Leaves a copy for every worker. Returns how many could take it.
    pub fn broadcast<M: Any + Send + Clone>(&self, message: &M) -> usize {
        let serving = self.roster.serving();
        serving.iter().filter(|sibling| post(sibling, message.clone()).is_ok()).count()
    }

    /// Nobody outside accepts from the cluster's sockets any more.
    pub(crate) fn alone(&self) {
        // One that has ended accepts nothing.
        let _ended = self.news.send(News::Alone);
    }

    /// What another thread may ask of the cluster, without owning it.
    pub(crate) fn remote(&self) -> Remote {
        Remote { roster: Arc::clone(&self.roster), news: self.news.clone() }
    }

    /// Asks the cluster to accept no more, to end what was begun, and then to end itself. Returns
    /// at once; [`join`](Self::join) waits.
    pub fn drain(&self) {
        // One that has ended needs no order.
        let _ended = self.news.send(News::Drain);
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
        if self.is_supervisors() {
            // It cannot wait for itself; it ends when the observer has returned.
            return Ok(Stopped::default());
        }
        let Some(supervisor) = self.supervisor.take() else { return Ok(Stopped::default()) };
        supervisor.join().map_err(|payload| SupervisorPanic::from_payload(&*payload))
    }
}

/// A running cluster, for who does not own it.
#[derive(Clone)]
pub(crate) struct Remote {
    roster: Arc<Roster>,
    news: Sender<News>,
}

impl Remote {
    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.roster.addresses()
    }

    /// What the workers have counted so far.
    pub(crate) fn stats(&self) -> ClusterStats {
        self.roster.stats()
    }

    /// See [`ClusterHandle::scale`].
    pub(crate) fn scale(&self, instances: Instances) -> Result<(), ChangeError> {
        let cpus = self.roster.cpus_for(instances);
        ask(&self.news, |answer| News::Scale(cpus, answer)).map(drop)
    }

    /// See [`ClusterHandle::alone`].
    pub(crate) fn alone(&self) {
        let _ended = self.news.send(News::Alone);
    }

    /// Descriptors of all its listening sockets, each with its address.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(Address, OwnedFd)>> {
        let (answer, answered) = mpsc::channel();
        let _ended = self.news.send(News::Sockets(answer));
        answered.recv().unwrap_or_else(|_| Err(io::Error::other("the cluster has ended")))
    }
}

/// Has the supervisor do something, and waits for what it says.
fn ask(news: &Sender<News>, what: impl FnOnce(Answer) -> News) -> Result<u64, ChangeError> {
    let (answer, answered) = mpsc::channel();
    // One that has ended answers nothing.
    let _ended = news.send(what(answer));
    let answered = answered.recv().unwrap_or_else(|_| Err("the cluster has ended".to_owned()));
    answered.map_err(|problem| ChangeError { problem })
}

/// A reload that can be carried out: all its lives have been started, and none serves yet. Dropped,
/// it is given up.
#[must_use = "nothing has changed yet"]
pub(crate) struct Prepared {
    news: Sender<News>,
    ticket: u64,
    decided: bool,
}

impl Prepared {
    /// Carries it out.
    pub(crate) fn commit(mut self) -> Result<(), ChangeError> {
        self.decided = true;
        ask(&self.news, |answer| News::Decide(self.ticket, true, answer)).map(drop)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.decided {
            // Whether it was given up already makes no difference.
            let _given_up = ask(&self.news, |answer| News::Decide(self.ticket, false, answer));
        }
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
        let (addresses, cpus) = (self.addresses(), self.cpus());
        f.debug_struct("ClusterHandle").field("addresses", &addresses).field("cpus", &cpus).finish()
    }
}
