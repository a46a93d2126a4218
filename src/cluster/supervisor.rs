//! The supervisor: a thread that holds the sockets, starts the workers, watches them and answers
//! their ends.
//!
//! It never serves a request. What it decides is in `fleet` and `watch`; here it is done. All that
//! it knows outlives a panic of it: whatever throws, it goes on where it was.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::crew::Crew;
use super::error::StartError;
use super::event::{Event, ExitReason, Message, Stall, Stopped};
use super::fleet::{self, Birth, Effect, Fleet, Input, LifeId, Rules, Target, Task};
use super::inherit::Source;
use super::listen::Listeners;
use super::metrics::export;
use super::placement::Placement;
use super::roster::Roster;
use super::share::Stake;
use super::watch::{Finding, Watch};
use super::worker::{Cradle, Life, Plan};
use super::{Address, ClusterHandle};
use crate::restart::Restart;
use crate::rt::Fault;
use crate::server::{Order, Share};

/// Those who watch a cluster.
pub(super) type Observers = Vec<Box<dyn FnMut(&Event) + Send>>;

/// Whether every worker listens, or why not.
pub(super) type Ready = Sender<Result<(), StartError>>;

/// Whether a change has happened, or can happen, and by what number to ask for it; or why not.
pub(super) type Answer = Sender<Result<u64, String>>;

/// What the supervisor hears.
pub(super) enum News {
    /// Of a life.
    Life(Input),
    /// A worker has something to say to those who watch.
    Reported(usize, Message),
    /// The workers are to be on these CPUs.
    Scale(Vec<usize>, Answer),
    /// Every worker is to be ready to have a new life.
    Renew(Box<Renewal>, Answer),
    /// A renewal that is ready is to happen, or not to.
    Decide(u64, bool, Answer),
    /// Somebody else wants to know what happens.
    Watch(Box<dyn FnMut(&Event) + Send>),
    /// Nobody outside accepts from the cluster's sockets any more.
    Alone,
    /// Somebody wants descriptors of all sockets.
    Sockets(Sender<io::Result<Vec<(Address, OwnedFd)>>>),
    /// The cluster is to end.
    Drain,
    /// The supervisor is to panic.
    #[cfg(test)]
    Panic,
}

/// What the cluster is to be.
pub(super) struct Renewal {
    pub name: String,
    pub plan: Plan,
    pub restart: Restart,
    pub addresses: Vec<Address>,
    pub metrics: Option<Address>,
    pub placement: Placement,
    /// For each address that is new.
    pub sockets: usize,
}

/// All that a renewal takes.
struct Next {
    renewal: Renewal,
    listeners: Listeners,
    exporter: Exporter,
}

/// What becomes of the exporter of the metrics.
enum Exporter {
    Stays,
    Becomes(Option<ClusterHandle>),
}

/// What the supervisor's thread owns.
pub(super) struct Supervisor {
    plan: Plan,
    listeners: Listeners,
    observers: Observers,
    inbox: Receiver<News>,
    /// For the workers: `inbox`.
    news: Sender<News>,
    ready: Ready,
    roster: Arc<Roster>,
    /// Serves the metrics as long as the cluster lives.
    exporter: Option<ClusterHandle>,
    /// Where it was asked to.
    metrics: Option<Address>,
    fleet: Fleet,
    watch: Watch,
    crew: Crew,
    /// What is still to be done.
    pending: VecDeque<Effect>,
    /// What could not be done, for want of descriptors, and is tried again.
    later: Vec<Effect>,
    asked: HashMap<u64, Asked>,
    tickets: u64,
}

/// A change that somebody waits for.
struct Asked {
    answer: Answer,
    cpus: Vec<usize>,
    next: Option<Box<Next>>,
}

/// What a supervisor begins with.
pub(super) struct Start {
    pub plan: Plan,
    pub restart: Restart,
    pub listeners: Listeners,
    pub observers: Observers,
    pub inbox: Receiver<News>,
    pub news: Sender<News>,
    pub ready: Ready,
    pub roster: Arc<Roster>,
    pub exporter: Option<ClusterHandle>,
    pub metrics: Option<Address>,
    pub placement: Placement,
    /// Another process accepts from the same sockets.
    pub shared: bool,
}

impl Supervisor {
    pub(super) fn new(start: Start) -> Self {
        let Start { plan, restart, listeners, observers, inbox, .. } = start;
        let Start { news, ready, roster, exporter, metrics, placement, shared, .. } = start;
        let now = Instant::now();
        let rules = Rules { drain: plan.timeouts.drain, restart };
        // Only so that not all programs of a machine wait equally long.
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let random = RandomState::new().hash_one(()) as u32;
        let cpus = placement.cpus_of(placement.workers());
        roster.place(&cpus);
        let supervisor = Self {
            fleet: Fleet::new(&cpus, listeners.ids(), rules, random, now).sharing(shared),
            watch: Watch::new(plan.timeouts.stall, now),
            plan,
            listeners,
            observers,
            inbox,
            news,
            ready,
            crew: Crew::new(Arc::clone(&roster)),
            roster,
            exporter,
            metrics,
            pending: VecDeque::new(),
            later: Vec::new(),
            asked: HashMap::new(),
            tickets: 0,
        };
        supervisor.settle(placement);
        supervisor
    }

    /// Starts the workers and keeps them until the cluster has ended.
    pub(super) fn run(mut self, bound: Event) -> Stopped {
        self.pending.push_back(Effect::Announce(bound));
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.supervise())) {
            let message = Fault::from_payload(&*payload).message;
            tracing::error!(message, "the supervisor panicked");
            self.pending.push_back(Effect::Announce(Event::SupervisorPanicked { message }));
        }
        self.finish()
    }

    fn supervise(&mut self) {
        loop {
            self.perform_all();
            self.pending.extend(self.fleet.tick(Instant::now()));
            self.perform_all();
            if self.fleet.is_over() {
                return;
            }
            if let Some(news) = self.wait() {
                self.hear(news);
            }
            self.look();
            self.crew.try_again(self.fleet.is_ending());
            self.pending.extend(self.later.drain(..));
        }
    }

    /// The next thing that happens, unless something is due before.
    fn wait(&self) -> Option<News> {
        let look = self.watch.next();
        let until = self.fleet.next_tick().map_or(look, |tick| tick.min(look));
        // Disconnected it cannot be: `news` is ours.
        self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Life(input) => {
                match &input {
                    Input::Listening(id) => self.crew.note_listening(*id),
                    Input::Ended(id, reason) => self.crew.bury(*id, reason),
                    _ => {}
                }
                self.step(input);
            }
            News::Reported(worker, message) => {
                self.pending.push_back(Effect::Announce(Event::Message { worker, message }));
            }
            News::Scale(cpus, answer) => self.ask(Asked { answer, cpus, next: None }),
            News::Renew(renewal, answer) => match self.prepare(*renewal) {
                Ok(next) => {
                    let cpus = next.renewal.placement.cpus_of(next.renewal.placement.workers());
                    self.ask(Asked { answer, cpus, next: Some(Box::new(next)) });
                }
                // Who asked may have gone.
                Err(error) => drop(answer.send(Err(error.to_string()))),
            },
            News::Decide(ticket, go, answer) => self.decide(ticket, go, answer),
            News::Watch(observer) => self.observers.push(observer),
            News::Alone => self.alone(),
            // Who asked may have gone.
            News::Sockets(answer) => drop(answer.send(self.sockets())),
            News::Drain => self.step(Input::Drain),
            #[cfg(test)]
            News::Panic => panic!("the supervisor was told to panic"),
        }
    }

    fn alone(&mut self) {
        if let Some(exporter) = &self.exporter {
            exporter.alone();
        }
        self.step(Input::Alone);
    }

    /// Descriptors of all listening sockets, those of the metrics among them.
    fn sockets(&self) -> io::Result<Vec<(Address, OwnedFd)>> {
        let mut sockets = self.listeners.duplicates()?;
        if let Some(exporter) = &self.exporter {
            sockets.extend(exporter.remote().sockets()?);
        }
        Ok(sockets)
    }

    fn step(&mut self, input: Input) {
        self.pending.extend(self.fleet.step(input, Instant::now()));
    }

    fn ask(&mut self, asked: Asked) {
        self.tickets += 1;
        let renewal = asked.next.as_ref().map(|next| {
            let Renewal { plan, restart, .. } = &next.renewal;
            let rules = Rules { drain: plan.timeouts.drain, restart: restart.clone() };
            fleet::Renewal { groups: next.listeners.ids(), rules }
        });
        let target = Target { ticket: self.tickets, cpus: asked.cpus.clone(), renewal };
        self.asked.insert(self.tickets, asked);
        self.step(Input::Change(target));
    }

    /// Opens what a renewal needs and is not open yet.
    fn prepare(&self, renewal: Renewal) -> Result<Next, StartError> {
        let listeners = self.listeners.renewed(&renewal.addresses, renewal.sockets)?;
        let exporter = match &renewal.metrics {
            same if *same == self.metrics => Exporter::Stays,
            Some(address) => {
                self.listeners.may_bind(address)?;
                let address = address.clone();
                let exporter = export(address, &renewal.name, &self.roster, Source::Own, false)?;
                Exporter::Becomes(Some(exporter))
            }
            None => Exporter::Becomes(None),
        };
        Ok(Next { renewal, listeners, exporter })
    }

    fn decide(&mut self, ticket: u64, go: bool, answer: Answer) {
        match self.asked.get_mut(&ticket) {
            Some(asked) => {
                asked.answer = answer;
                self.step(Input::Decide(ticket, go));
            }
            None => drop(answer.send(Err("it was given up meanwhile".to_owned()))),
        }
    }

    /// Looks for lives that no longer yield.
    fn look(&mut self) {
        let now = Instant::now();
        let mut readings = self.crew.readings();
        // One about which nothing would be done must not be found and forgotten.
        readings.retain(|(id, _)| self.fleet.minds_stall_of(*id));
        for (id, finding) in self.watch.look(now, &readings) {
            let Some(life) = self.crew.get(id) else { continue };
            match finding {
                Finding::Stalled => {
                    let route = life.pulse.route().map(str::to_owned);
                    let stall = Stall { route, busy: life.pulse.busy_for(now) };
                    self.step(Input::Stalled(id, stall));
                }
                Finding::Moved => self.step(Input::Moved(id)),
            }
        }
    }

    fn perform_all(&mut self) {
        while let Some(effect) = self.pending.pop_front() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start(birth) => self.start(birth),
            Effect::Tell(id, task) => self.tell(id, task),
            Effect::Lower(id) => self.crew.isolate(id),
            Effect::Raise(id) => self.crew.take_back(id),
            Effect::Release(id) => self.release(id),
            Effect::Peers(ids) => self.crew.introduce(ids),
            Effect::Commit => self.commit(),
            Effect::Close => drop(std::mem::take(&mut self.listeners)),
            Effect::Prepared(ticket) => {
                if let Some(asked) = self.asked.get(&ticket) {
                    // Who asked may have gone; then he has decided against it.
                    drop(asked.answer.send(Ok(ticket)));
                }
            }
            Effect::Ready => drop(self.ready.send(Ok(()))),
            Effect::Reply(ticket, answer) => self.reply(ticket, answer),
            Effect::Announce(event) => self.announce(&event),
        }
    }

    fn start(&mut self, birth: Birth) {
        let id = birth.id;
        match self.bear(birth) {
            Ok(life) => self.crew.enter(id, life),
            Err(error) => {
                let problem = format!("cannot start: {error}");
                self.step(Input::Ended(id, ExitReason::Failed { problem }));
            }
        }
    }

    fn bear(&self, birth: Birth) -> io::Result<Life> {
        let Birth { id, worker, cpu, stakes, prepared } = birth;
        let next = self.asked.values().find_map(|asked| asked.next.as_ref());
        let plan = match next {
            Some(next) if prepared => &next.renewal.plan,
            _ => &self.plan,
        };
        let (plan, shares) = (plan.clone(), self.shares(&stakes)?);
        Life::start(Cradle { id, worker, cpu, plan, shares, news: self.news.clone() })
    }

    fn shares(&self, stakes: &[Stake]) -> io::Result<Vec<Share>> {
        let share = |stake: &Stake| {
            let Stake { socket, arming, rearm } = *stake;
            let descriptor = self.listeners.duplicate(socket)?;
            Ok(Share { socket: socket.into(), descriptor, arming, rearm })
        };
        stakes.iter().map(share).collect()
    }

    fn tell(&mut self, id: LifeId, task: Task) {
        let order = match &task {
            Task::Listen(number, stakes) => match self.shares(stakes) {
                Ok(shares) => Order::Listen(*number, shares),
                Err(error) => {
                    tracing::warn!(%error, "a worker cannot be given its sockets yet");
                    return self.later.push(Effect::Tell(id, task));
                }
            },
            Task::Retire => Order::Retire,
            Task::Drain => Order::Drain,
        };
        self.crew.order(id, order);
    }

    fn release(&mut self, id: LifeId) {
        let Some(life) = self.crew.get(id) else { return };
        let (worker, connections) = (life.worker, life.release() as u64);
        self.announce(&Event::Released { worker, connections });
    }

    fn commit(&mut self) {
        let asked = self.asked.values_mut().find(|asked| asked.next.is_some());
        let Some(next) = asked.and_then(|asked| asked.next.take()) else { return };
        let Next { renewal, listeners, exporter } = *next;
        let Renewal { plan, addresses, metrics, placement, .. } = renewal;
        self.watch.set_stall(plan.timeouts.stall);
        self.plan = plan;
        if let Err(error) = listeners.set_modes(&addresses) {
            tracing::error!(%error, "the permissions of a socket's path cannot be changed");
        }
        self.listeners = listeners;
        if let Exporter::Becomes(exporter) = exporter {
            let old = std::mem::replace(&mut self.exporter, exporter);
            self.metrics = metrics;
            // Its end takes a while, and nobody waits for it; without a thread, here.
            let _ended = std::thread::Builder::new().spawn(move || drop(old));
        }
        self.settle(placement);
    }

    /// Says where the cluster listens.
    fn settle(&self, placement: Placement) {
        let groups = self.listeners.groups().iter();
        let addresses = groups.map(|group| group.address().clone()).collect();
        let metrics = self.exporter.as_ref().and_then(|exporter| exporter.addresses().pop());
        self.roster.settle(addresses, metrics, placement);
    }

    fn reply(&mut self, ticket: u64, answer: Result<(), String>) {
        let Some(asked) = self.asked.remove(&ticket) else { return };
        if answer.is_ok() {
            self.roster.place(&asked.cpus);
        }
        drop(asked.answer.send(answer.map(|()| ticket)));
    }

    fn announce(&mut self, event: &Event) {
        // Who only watches must not end the supervision.
        self.observers.retain_mut(|observer| {
            let seen = catch_unwind(AssertUnwindSafe(|| observer(event)));
            if seen.is_err() {
                tracing::error!("an observer of the cluster panicked and hears no more events");
            }
            seen.is_ok()
        });
    }

    /// Closes the sockets, then tells how it ended.
    fn finish(mut self) -> Stopped {
        let rules = self.fleet.rules().clone();
        let idle = Fleet::new(&[], Vec::new(), rules, 0, Instant::now());
        let (stopped, unstarted) = std::mem::replace(&mut self.fleet, idle).into_result();
        // `listeners` removes its Unix paths before anybody hears of the end.
        drop(std::mem::take(&mut self.listeners));
        drop(self.exporter.take());
        let failed = if let Some((worker, reason)) = unstarted {
            StartError::Worker { worker, reason }
        } else {
            self.announce(&Event::Stopped(stopped.clone()));
            StartError::Drained
        };
        // Who still waits for the start waits in vain.
        let _started = self.ready.send(Err(failed));
        stopped
    }
}
