//! What a cluster is to be, and its start.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::error::StartError;
use super::event::Event;
use super::handle::ClusterHandle;
use super::inherit::Source;
use super::listen::Listeners;
use super::metrics::export;
use super::placement::Placement;
use super::roster::Roster;
use super::supervisor::{News, Observers, Renewal, Start, Supervisor};
use super::worker::Plan;
use super::{Address, AddressError, Instances};
use crate::app::App;
use crate::restart::Restart;
use crate::server::{Balance, Limits, OnPanic, Timeouts};
use crate::sys::cpu::AllowedCpus;
use crate::sys::uring;

/// The shortest time that can count as a stall.
const STALL_MIN: Duration = Duration::from_millis(1);
/// Longer than anybody waits. What is longer counts as this, lest the clock overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Ends a cluster, from any thread.
pub(crate) type Ender = Box<dyn Fn() + Send>;
/// Takes one.
type Begun = Box<dyn FnOnce(Ender) + Send>;

/// One pinned worker per CPU, each with its own listening sockets and its own [`App`], and a
/// supervisor that restarts those that panic.
///
/// A program runs it, as in the first example; see [`run`](Self::run). A program that has other
/// things to do spawns it:
///
/// ```no_run
/// use corelane::{App, Cluster, Exit};
///
/// fn app() -> App {
///     App::new().get("/", async || "Hello, Cluster!")
/// }
///
/// fn main() -> Exit {
///     Cluster::new(app).listen("0.0.0.0:3000").run()
/// }
/// ```
///
/// ```no_run
/// # use corelane::{App, Cluster};
/// # fn app() -> App { App::new() }
/// let handle = Cluster::new(app).listen("127.0.0.1:0").instances(2).spawn()?;
/// println!("listening on {}", handle.addresses()[0]);
/// handle.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a cluster does nothing until it is run or spawned"]
pub struct Cluster {
    name: String,
    plan: Plan,
    addresses: Vec<Address>,
    source: Source,
    metrics_source: Source,
    /// The first address that was none.
    refused: Option<AddressError>,
    instances: Instances,
    cpus: Option<Vec<usize>>,
    restart: Restart,
    metrics: Option<Address>,
    observers: Observers,
    shared: bool,
    begun: Option<Begun>,
}

impl Cluster {
    /// A cluster of what `factory` makes. Each worker calls it on its own core, again whenever it
    /// is restarted, so an app and everything in it may be `!Send`.
    ///
    /// A factory that panics fails the first start, and later only delays the restart of its
    /// worker.
    pub fn new(factory: impl Fn() -> App + Send + Sync + 'static) -> Self {
        let (limits, timeouts) = (Limits::default(), Timeouts::default());
        Self {
            name: "app".to_owned(),
            plan: Plan {
                factory: Arc::new(factory),
                limits,
                timeouts,
                on_panic: OnPanic::default(),
                balance: Balance::default(),
                pinned: true,
            },
            addresses: Vec::new(),
            source: Source::Own,
            metrics_source: Source::Own,
            refused: None,
            instances: Instances::Max,
            cpus: None,
            restart: Restart::default(),
            metrics: None,
            observers: Vec::new(),
            shared: false,
            begun: None,
        }
    }

    /// Listens here, too: `"127.0.0.1:3000"`, `"unix:/run/my-app.sock"`, a
    /// [`SocketAddr`](std::net::SocketAddr) or an [`Address`]. At least one is needed; a bad one is
    /// reported when the cluster is started.
    pub fn listen<A>(mut self, address: A) -> Self
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        let address = self.accepted(address);
        self.addresses.extend(address);
        self
    }

    /// Answers with its metrics here, in Prometheus' text format. An address as for
    /// [`listen`](Self::listen), but none of those; the last one named counts. By default nowhere.
    ///
    /// ```
    /// use corelane::{App, Cluster};
    ///
    /// let cluster = Cluster::new(App::new).listen("0.0.0.0:3000").metrics("127.0.0.1:9100");
    /// ```
    pub fn metrics<A>(mut self, address: A) -> Self
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        self.metrics = self.accepted(address);
        self
    }

    /// What is no address is remembered, and reported at the start.
    fn accepted<A>(&mut self, address: A) -> Option<Address>
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        match address.try_into() {
            Ok(address) => Some(address),
            Err(error) => {
                self.refused.get_or_insert(error.into());
                None
            }
        }
    }

    /// Listens on the sockets that a service manager such as systemd passed to the process
    /// (`LISTEN_FDS`), if it passed any. [`run`](Self::run) does so anyway, [`spawn`](Self::spawn)
    /// only if asked by this.
    ///
    /// Then nothing is bound: there must be a socket for each address of the cluster, and port 0
    /// is none. They are matched by address and port, `0.0.0.0` and `[::]` only by themselves, or
    /// by path; where clusters share an address, by the cluster's [`name`](Self::name)
    /// (`FileDescriptorName=`). The descriptors become corelane's: it takes all of them when the
    /// first cluster asks, and a socket is given to one cluster, once in the process's life.
    pub fn inherit_listeners(mut self) -> Self {
        self.source = Source::Process;
        self.metrics_source = Source::Process;
        self
    }

    /// Has this many workers: a number, or [`Instances`]. By default one per CPU.
    pub fn instances(mut self, instances: impl Into<Instances>) -> Self {
        self.instances = instances.into();
        self
    }

    /// Pins the workers to these CPUs, in this order. By default to all that the process may use.
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Lets clients send and hold this much.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// Waits this long for clients, for handlers that do not yield, and for the end of a drain. A
    /// `stall` of less than 1 ms counts as 1 ms.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.plan.timeouts = timeouts;
        let Timeouts { stall, drain, .. } = &mut self.plan.timeouts;
        *stall = (*stall).clamp(STALL_MIN, LONGEST);
        *drain = LONGEST.min(*drain);
        self
    }

    /// Restarts workers by this policy. By default three times at once, then after waits that
    /// double from 100 ms to 2 s, and at most 16 times within 60 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use corelane::{App, Cluster, Restart};
    ///
    /// let mut restart = Restart::default();
    /// restart.backoff_max = Duration::from_secs(10);
    /// let cluster = Cluster::new(App::new).listen("127.0.0.1:3000").restart(restart);
    /// ```
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        let Restart { backoff, backoff_max, .. } = &mut self.restart;
        *backoff_max = LONGEST.min(*backoff_max);
        *backoff = LONGEST.min(*backoff);
        self
    }

    /// Shares out connections like this. By default new ones go to whoever has the fewest.
    ///
    /// ```
    /// use corelane::{App, Balance, Cluster};
    ///
    /// let cluster = Cluster::new(App::new).listen("127.0.0.1:3000").balance(Balance::Kernel);
    /// ```
    pub fn balance(mut self, balance: Balance) -> Self {
        self.plan.balance = balance;
        self
    }

    /// Has a panic of a handler come to this. By default to a 500 for that request alone.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.plan.on_panic = on_panic;
        self
    }

    /// What messages call it, where a program runs several. By default `app`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Calls `observer` on the supervisor's thread for each [`Event`], in addition to those that
    /// were added before. It should return soon: nobody is restarted meanwhile. After a panic it
    /// is not called again.
    pub fn on_event(mut self, observer: impl FnMut(&Event) + Send + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Starts the cluster on threads of its own, and returns once every worker accepts
    /// connections.
    ///
    /// It is for programs that do other things as well: it handles no signal, changes no limit of
    /// the process, prints nothing and never exits. Workers are placed on the CPUs that the
    /// calling thread may use.
    ///
    /// # Errors
    /// An address cannot be listened on, `io_uring` is refused, or a worker does not start. Then
    /// nothing is left behind.
    pub fn spawn(mut self) -> Result<ClusterHandle, StartError> {
        self.check()?;
        let (placement, sockets) = self.place()?;
        probe()?;
        let source = std::mem::take(&mut self.source);
        let listeners = source.listeners(&self.name, &self.addresses, sockets)?;
        self.launch(placement, listeners)
    }

    /// What a cluster that runs is to be in place of what it is.
    pub(super) fn renewal(self) -> Result<Renewal, StartError> {
        self.check()?;
        let (placement, sockets) = self.place()?;
        let Self { name, plan, addresses, restart, metrics, .. } = self;
        Ok(Renewal { name, plan, restart, addresses, metrics, placement, sockets })
    }

    /// Keeps no worker on a CPU.
    pub(crate) fn unpinned(mut self) -> Self {
        self.plan.pinned = false;
        self
    }

    /// Another process accepts from the sockets that were passed, until it is said that it does no
    /// more: no worker relies on being woken for a connection.
    pub(crate) fn shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Gives what ends the cluster to `begun`, before it has started: that may take for ever.
    pub(crate) fn on_begun(mut self, begun: impl FnOnce(Ender) + Send + 'static) -> Self {
        self.begun = Some(Box::new(begun));
        self
    }

    /// Its name.
    pub(crate) fn called(&self) -> &str {
        &self.name
    }

    /// Its name, and each set of addresses with where their sockets come from: its own, and that
    /// of its metrics.
    pub(super) fn sockets(&mut self) -> (&str, [(&[Address], &mut Source); 2]) {
        let Self { name, addresses, source, metrics, metrics_source, .. } = self;
        (name, [(addresses, source), (metrics.as_slice(), metrics_source)])
    }

    /// Has its sockets from there.
    pub(super) fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Whether everything that was asked for makes sense, whatever the machine.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if let Some(error) = &self.refused {
            return Err(error.clone().into());
        }
        if self.addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        Ok(())
    }

    /// Which CPUs the workers get, and how many sockets each address: a number for good, so that
    /// scaling need never open or close one.
    fn place(&self) -> Result<(Placement, usize), StartError> {
        let allowed = AllowedCpus::capture()
            .map_err(|source| StartError::System { what: "read the CPUs to use", source })?;
        let asked = self.cpus.as_deref();
        let distinct = asked.map(|cpus| cpus.iter().collect::<BTreeSet<_>>().len());
        // No more than the cgroup's quota feeds, nor than were asked for.
        let max = distinct.unwrap_or(usize::MAX).min(allowed.max());
        let placement = Placement::new(allowed.ids(), asked, self.instances.resolve(max))?;
        let sockets = placement.workers().max(allowed.ids().len());
        Ok((placement, sockets))
    }

    /// Starts the supervisor, which starts the workers, and waits until they listen.
    fn launch(
        self,
        placement: Placement,
        listeners: Listeners,
    ) -> Result<ClusterHandle, StartError> {
        let roster = Arc::<Roster>::default();
        let exporter = match self.metrics.clone() {
            Some(address) => {
                let source = self.metrics_source;
                Some(export(address, &self.name, &roster, source, self.shared)?)
            }
            None => None,
        };
        let bound = Event::Bound {
            addresses: listeners.groups().iter().map(|group| group.address().clone()).collect(),
            cpus: placement.cpus_of(placement.workers()),
            metrics: exporter.as_ref().and_then(|exporter| exporter.addresses().pop()),
            warning: placement.warning(),
        };
        let (news, inbox) = mpsc::channel();
        let (ready, readiness) = mpsc::channel();
        let start = Start {
            plan: self.plan,
            restart: self.restart,
            listeners,
            observers: self.observers,
            inbox,
            news: news.clone(),
            ready,
            roster: Arc::clone(&roster),
            exporter,
            metrics: self.metrics,
            placement,
            shared: self.shared,
        };
        let thread = thread::Builder::new().name("corelane-super".to_owned());
        let supervisor = thread
            .spawn(move || Supervisor::new(start).run(bound))
            .map_err(|source| StartError::System { what: "start the supervisor", source })?;
        // Dropped with an error, it waits for the supervisor's end.
        let supervisor = Some(supervisor);
        if let Some(begun) = self.begun {
            let news = news.clone();
            begun(Box::new(move || drop(news.send(News::Drain))));
        }
        let handle = ClusterHandle { roster, news, supervisor };
        match readiness.recv() {
            Ok(Ok(())) => Ok(handle),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(lost()),
        }
    }
}

/// Whether `io_uring` can be had, asked on a thread of its own: some time after a ring's end the
/// kernel interrupts whatever system call its maker waits in, and the caller must not see that.
fn probe() -> Result<(), StartError> {
    let thread = thread::Builder::new().name("corelane-probe".to_owned()).spawn(uring::probe);
    let thread = thread.map_err(|source| StartError::System { what: "start a thread", source })?;
    let probed =
        thread.join().map_err(|_| StartError::Ring { problem: "its probe panicked".into() })?;
    probed.map_err(|refusal| StartError::Ring { problem: refusal.to_string() })
}

/// The supervisor went without a word, which is a mistake in corelane.
fn lost() -> StartError {
    let source = io::Error::other("it panicked");
    StartError::System { what: "wait for the supervisor", source }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, plan, addresses, instances, cpus, restart, metrics, .. } = self;
        f.debug_struct("Cluster")
            .field("name", name)
            .field("addresses", addresses)
            .field("instances", instances)
            .field("cpus", cpus)
            .field("restart", restart)
            .field("balance", &plan.balance)
            .field("on_panic", &plan.on_panic)
            .field("metrics", metrics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
