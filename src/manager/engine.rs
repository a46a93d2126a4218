//! The manager's thread: it waits for what happens, tells the apps, and does what they want done.
//!
//! What is decided is in `app` and `process`; here it is done. Nothing here waits for a program:
//! whoever is slow is slow alone.

mod adopt;
mod after;
mod boot;
mod journal;
mod life;
mod logs;
mod overview;
mod tick;
mod verb;
mod witness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::read;

use self::after::Held;
use self::life::Life;
use self::overview::Asking;
use self::verb::Waiter;
use super::api::{Command, Desk, Reply};
use super::app::{App, Effect};
use super::ground::Ground;
use super::health::Probe;
use super::herald::Herald;
use super::metrics::Counts;
use super::news::Witness;
use super::passed::Passed;
use super::socket::Sockets;
use super::{log, process};
use crate::control::MachineReport;
use crate::sys::child::Exit;
use crate::sys::cpu::AllowedCpus;
use crate::sys::hearing::Hearing;
use crate::sys::orphan::Orphans;

/// A process: its app and its slot there.
type Place = (u32, u32);

/// How the manager's thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to stop everything, and has.
    Killed,
    /// It was told to end; the apps run on.
    Left,
    /// It is to become the program that is now in its place.
    Upgrade,
    /// Its home was removed, or the socket in it: it makes them anew, and goes on.
    Homeless,
}

/// What the manager's thread owns.
pub(super) struct Engine {
    ground: Ground,
    /// corelane itself, as it was started.
    corelane: PathBuf,
    cpus: usize,
    machine: MachineReport,
    begun: Instant,
    apps: BTreeMap<u32, App>,
    next_id: u32,
    lives: BTreeMap<Place, Life>,
    /// When a process is to be told that its time is up.
    timers: BTreeMap<Place, Instant>,
    /// When a process that says nothing counts as ready.
    ripe: BTreeMap<Place, Instant>,
    sockets: BTreeMap<u32, Sockets>,
    /// Who asks the apps whether they are well, and how often in a row they were not.
    probes: BTreeMap<u32, Probe>,
    ailing: BTreeMap<u32, u32>,
    /// Apps whose program has said itself that it was ready.
    notifies: BTreeSet<u32>,
    /// Who waits for what, by number.
    waiters: BTreeMap<u64, Waiter>,
    tickets: u64,
    /// Starts of apps that had ended while no manager ran: their numbers, and whose they are.
    recalled: BTreeMap<u64, u32>,
    /// How long an app's log of errors was when it was launched last.
    log_marks: BTreeMap<u32, log::Ends>,
    /// Processes whose logs could not be opened.
    unlogged: BTreeSet<Place>,
    /// Orders that wait for other apps.
    held: Vec<Held>,
    asking: Vec<Asking>,
    /// What the processes have counted that have ended, for each app.
    counted: BTreeMap<u32, Counts>,
    /// What is still to be done.
    pending: VecDeque<(u32, Effect)>,
    hearing: Hearing,
    inbox: Receiver<Command>,
    /// Readable when something is in the inbox.
    bell: OwnedFd,
    /// For those who have something to say to this thread.
    desk: Desk,
    /// Something has changed that is to be remembered.
    changed: bool,
    /// What the operator should know.
    problems: BTreeMap<&'static str, String>,
    tick: Instant,
    herald: Herald,
    passed: Passed,
    /// Who asked for the end of everything.
    killing: Option<Reply>,
    end: Option<End>,
    /// Who hears of what happens, and has it that there is an end or an error.
    witness: Option<Witness>,
    told: bool,
    /// How processes ended last.
    ends: BTreeMap<Place, Exit>,
    orphans: Option<Orphans>,
    random: RandomState,
}

/// What an engine begins with.
pub(super) struct Start {
    pub(super) ground: Ground,
    pub(super) corelane: PathBuf,
    pub(super) hearing: Hearing,
    pub(super) inbox: Receiver<Command>,
    pub(super) bell: OwnedFd,
    pub(super) desk: Desk,
    pub(super) passed: Passed,
    pub(super) witness: Option<Witness>,
    /// If this process takes in what its programs leave behind.
    pub(super) orphans: Option<Orphans>,
}

impl Engine {
    pub(super) fn new(start: Start) -> io::Result<Self> {
        let Start { ground, corelane, hearing, inbox, bell, desk, passed, witness, orphans } =
            start;
        let now = Instant::now();
        let allowed = AllowedCpus::capture()?;
        Ok(Self {
            herald: Herald::of(&ground, now),
            ground,
            corelane,
            cpus: allowed.max(),
            machine: overview::machine(&allowed),
            begun: now,
            apps: BTreeMap::new(),
            next_id: 0,
            lives: BTreeMap::new(),
            timers: BTreeMap::new(),
            ripe: BTreeMap::new(),
            sockets: BTreeMap::new(),
            probes: BTreeMap::new(),
            ailing: BTreeMap::new(),
            notifies: BTreeSet::new(),
            waiters: BTreeMap::new(),
            tickets: 0,
            recalled: BTreeMap::new(),
            log_marks: BTreeMap::new(),
            unlogged: BTreeSet::new(),
            held: Vec::new(),
            asking: Vec::new(),
            counted: BTreeMap::new(),
            pending: VecDeque::new(),
            hearing,
            inbox,
            bell,
            desk,
            changed: false,
            problems: BTreeMap::new(),
            tick: now,
            passed,
            killing: None,
            end: None,
            witness,
            told: false,
            ends: BTreeMap::new(),
            orphans,
            random: RandomState::new(),
        })
    }

    /// Does what is asked until it is told to end.
    pub(super) fn run(&mut self) -> End {
        // To start what was stopped is part of the beginning.
        self.take_commands();
        loop {
            self.settle();
            if let Some(end) = self.end {
                return end;
            }
            let woken = self.wait();
            self.take_commands();
            self.hear_programs();
            for place in woken {
                self.look_at(place);
            }
            self.bury_orphans();
            self.ring();
        }
    }

    /// Ends what its programs have left behind.
    pub(super) fn end_orphans(&self) {
        if let Some(orphans) = &self.orphans {
            orphans.end();
        }
    }

    /// Answers nobody any more: whoever asks is told so at once.
    pub(super) fn close(&mut self) {
        let (_, closed) = mpsc::channel();
        self.inbox = closed;
        self.probes.clear();
        self.waiters.clear();
        self.asking.clear();
    }

    /// Does what is pending, writes down what has changed, and only then answers.
    fn settle(&mut self) {
        self.perform_all();
        self.release_held();
        self.perform_all();
        self.ask_after_health();
        if self.changed {
            self.keep_sockets();
            self.look_for_unclaimed();
            let summary = self.summary();
            self.herald.status(&summary);
        }
        self.remember();
        self.answer();
        self.tell_outcome();
        if !self.herald.is_ready() && self.is_settled() {
            self.herald.ready();
        }
    }

    /// Waits until something happens. Returns the processes to which it does.
    fn wait(&mut self) -> Vec<Place> {
        let orphans = self.orphans.as_ref().map(Orphans::as_fd);
        let fixed = [self.bell.as_fd(), self.hearing.as_fd()].into_iter();
        let fixed = fixed.chain(self.ground.watch()).chain(orphans);
        let mut polled: Vec<_> =
            fixed.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let fixed = polled.len();
        let mut places = Vec::new();
        for (place, life) in &self.lives {
            polled.push(PollFd::from_borrowed_fd(life.child().as_fd(), PollFlags::IN));
            places.push(*place);
            if let Some(link) = life.link() {
                polled.push(PollFd::from_borrowed_fd(link.as_fd(), PollFlags::IN));
                places.push(*place);
            }
        }
        let left = self.due().saturating_duration_since(Instant::now());
        // Rounded up, lest the last millisecond be spent in looks.
        let time = Timespec::try_from(left + Duration::from_millis(1)).ok();
        // What was interrupted is looked at again.
        if poll(&mut polled, time.as_ref()).is_err() {
            return Vec::new();
        }
        let ready =
            |(polled, place): (&PollFd<'_>, Place)| (!polled.revents().is_empty()).then_some(place);
        let mut woken: Vec<_> = polled[fixed..].iter().zip(places).filter_map(ready).collect();
        woken.dedup();
        let stirred = polled[2..fixed].iter().any(|polled| !polled.revents().is_empty());
        drop(polled);
        if stirred {
            self.heed_removal();
        }
        woken
    }

    /// When something is due, whatever happens before.
    fn due(&self) -> Instant {
        let timers = self.timers.values().chain(self.ripe.values()).copied();
        let asking = self.asking.iter().map(|asking| asking.until);
        let held = self.held.iter().filter_map(Held::until);
        let own = [self.tick, self.herald.due()].into_iter().chain(self.passed.due());
        timers.chain(asking).chain(held).chain(own).min().unwrap_or(self.tick)
    }

    fn take_commands(&mut self) {
        let mut rung = [0; 8];
        // Rung or not, the inbox is looked into.
        let _rung = read(&self.bell, &mut rung);
        // What comes behind the end is not for this manager: nobody would hear what became of it.
        while self.end.is_none() {
            match self.inbox.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.end.get_or_insert(End::Left);
                    return;
                }
            }
        }
    }

    /// Tells whoever's time is up.
    fn ring(&mut self) {
        let now = Instant::now();
        let due = |timers: &BTreeMap<Place, Instant>| {
            let due = timers.iter().filter(|(_, at)| **at <= now);
            due.map(|(place, _)| *place).collect::<Vec<_>>()
        };
        for place in due(&self.timers) {
            self.timers.remove(&place);
            self.happened(place, process::Event::Timeout);
        }
        for place in due(&self.ripe) {
            self.ripe.remove(&place);
            self.ripen(place);
        }
        self.herald.beat(now);
        if self.passed.due().is_some_and(|due| due <= now) {
            self.keep_sockets();
        }
        if self.tick <= now {
            self.look_round(now);
        }
    }

    /// Something has happened to a process.
    fn happened(&mut self, (id, key): Place, event: process::Event) {
        let random = self.random();
        let Some(app) = self.apps.get_mut(&id) else { return };
        let effects = app.happened(key, event, Instant::now(), random);
        self.enqueue(id, effects);
    }

    fn enqueue(&mut self, id: u32, effects: Vec<Effect>) {
        self.changed = true;
        self.pending.extend(effects.into_iter().map(|effect| (id, effect)));
    }

    /// Only so that not all programs of a machine wait equally long.
    fn random(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let bits = self.random.hash_one(Instant::now()) as u32;
        bits
    }

    fn perform_all(&mut self) {
        while let Some((id, effect)) = self.pending.pop_front() {
            self.perform(id, effect);
        }
    }

    fn perform(&mut self, id: u32, effect: Effect) {
        match effect {
            Effect::Process(key, effect) => self.perform_on((id, key), &effect),
            Effect::AskToScale(key, instances) => self.ask_to_scale((id, key), instances),
            Effect::TellAlone(key) => self.tell_alone((id, key)),
            Effect::Forget(key) => self.forget((id, key)),
            Effect::Release => drop(self.sockets.remove(&id)),
            Effect::Settle => self.settle_sockets(id),
            Effect::Finish(ticket, code, message) => self.finish(ticket, code, &message),
            Effect::Gone => {
                self.apps.remove(&id);
                self.sockets.remove(&id);
                self.notifies.remove(&id);
                self.log_marks.remove(&id);
                self.counted.remove(&id);
                self.changed = true;
            }
        }
    }

    fn perform_on(&mut self, place: Place, effect: &process::Effect) {
        match effect {
            process::Effect::Spawn => self.spawn(place),
            process::Effect::Terminate => self.terminate(place),
            process::Effect::Kill => {
                if let Some(life) = self.lives.get(&place) {
                    self.tell_kill(place);
                    life.child().kill_group();
                }
            }
            process::Effect::Arm(time) => drop(self.timers.insert(place, Instant::now() + *time)),
            process::Effect::Disarm => drop(self.timers.remove(&place)),
            // The app has counted it.
            process::Effect::Restarted => {}
        }
    }

    fn settle_sockets(&mut self, id: u32) {
        let (Some(app), Some(sockets)) = (self.apps.get(&id), self.sockets.get_mut(&id)) else {
            return;
        };
        let spec = Arc::clone(app.spec());
        sockets.settle(&spec);
    }

    fn forget(&mut self, place: Place) {
        self.timers.remove(&place);
        self.ripe.remove(&place);
        self.ends.remove(&place);
        if let Some(life) = self.lives.remove(&place) {
            // It has ended, or never was.
            drop(life);
        }
        // What stays does no harm, and its name is never used again.
        let _gone = self.ground.vacate(place.0, place.1);
    }
}
