//! The processes: their starts, their ends, and what they say.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::app::Role;
use super::super::launch::{self, Setting};
use super::super::link::{Link, Purpose};
use super::super::process::State;
use super::super::{log, process};
use super::{Engine, Place};
use crate::control::wire::{Ask, EMBEDS, ProgramReport, Tell};
use crate::control::{Kind, Spec};
use crate::sys::child::{Child, Exit, signal_of};
use crate::sys::stat::Stat;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Life {
    child: Child,
    link: Option<Link>,
    /// It has answered, so it embeds corelane.
    answers: bool,
    /// What it said last.
    pub(super) report: Option<ProgramReport>,
    /// As of when.
    reported: Instant,
    /// What it has counted, as it said last.
    pub(super) counted: Option<String>,
    /// When it was last asked how it is, with what it had used by then.
    pub(super) samples: [Option<Sample>; 2],
}

/// What a process had used by a moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cpu: Duration,
    pub(super) memory: u64,
    /// The requests of each worker, and when it had said so.
    pub(super) requests: Vec<u64>,
    pub(super) reported: Instant,
}

impl Life {
    pub(super) fn new(child: Child, link: Option<Link>, answers: bool) -> Self {
        let reported = Instant::now();
        Self { child, link, answers, report: None, reported, counted: None, samples: [None, None] }
    }

    /// It has said how it is.
    pub(super) fn hear(&mut self, report: ProgramReport) {
        self.report = Some(report);
        self.reported = Instant::now();
    }

    pub(super) fn reported(&self) -> Instant {
        self.reported
    }

    pub(super) fn child(&self) -> &Child {
        &self.child
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    pub(super) fn answers(&self) -> bool {
        self.answers
    }
}

impl Engine {
    pub(super) fn spawn(&mut self, place: Place) {
        // What it writes until it is ready is what is shown if it fails.
        self.mark_log(place.0);
        match self.try_spawn(place) {
            Ok(()) => {
                self.ends.remove(&place);
                self.tell(place, "started");
            }
            Err(problem) => {
                self.happened(place, process::Event::SpawnFailed(problem.clone()));
                self.tell_end(None, place, &problem, Exit::Unknown);
            }
        }
    }

    fn mark_log(&mut self, id: u32) {
        let Some(app) = self.apps.get(&id) else { return };
        let Some(files) = self.ground.logs(app.spec()) else { return };
        self.log_marks.insert(id, log::ends(&files));
    }

    fn try_spawn(&mut self, place: Place) -> Result<(), String> {
        let (id, key) = place;
        let app = self.apps.get(&id).ok_or("there is no such app")?;
        let slot = app.slot(key).ok_or("there is no such process")?;
        let spec = Arc::clone(&slot.spec);
        let shared = app.is_shared(key);
        let earlier = |other: &&super::super::app::Slot| other.role == slot.role && other.key < key;
        let instance = app.slots().iter().filter(earlier).count();
        let role = slot.role;
        let sockets = self.sockets.entry(id).or_default();
        let provided = sockets.provide(&spec, self.cpus, &mut self.passed);
        provided.map_err(|error| error.to_string())?;
        if role == Role::Serving {
            sockets.settle(&spec);
        }
        let (control, address) = self.control_socket(place)?;
        let output = self.open_logs(place, &spec)?;
        let (addresses, sockets) = self.sockets[&id].of(&spec);
        let mark = self.mark(place);
        let setting = Setting {
            corelane: &self.corelane,
            mark: &mark,
            notify: self.hearing.name(),
            control: control.as_fd(),
            sockets,
            addresses,
            output: [output[0].as_fd(), output[1].as_fd()],
            instance,
            shared,
            tied: self.ground.home().is_none(),
        };
        let pid = launch::launch(&spec, &setting).map_err(|error| error.to_string())?;
        let child = Child::of(pid).map_err(|error| error.to_string())?;
        // It waits in the queue until the program accepts, if it ever does.
        let mut link = Link::connect(&address).ok();
        if let Some(link) = &mut link {
            link.ask(Ask::Status, Purpose::Status);
        }
        self.lives.insert(place, Life::new(child, link, spec.kind == Kind::Routes));
        self.wait_for_ripeness(place, &spec);
        self.look_soon();
        self.changed = true;
        Ok(())
    }

    /// A program that does not say when it is ready is, when it has run for a while.
    pub(super) fn wait_for_ripeness(&mut self, place: Place, spec: &Spec) {
        let embeds = self.apps.get(&place.0).and_then(super::App::embeds) == Some(true);
        if !embeds && !self.notifies.contains(&place.0) {
            let uptime = Duration::from_millis(spec.restart.min_uptime);
            self.ripe.insert(place, Instant::now() + uptime);
        }
    }

    fn control_socket(&self, (id, key): Place) -> Result<(UnixListener, SocketAddr), String> {
        let make = || {
            let address = self.ground.address(id, key)?;
            self.ground.vacate(id, key)?;
            Ok((UnixListener::bind_addr(&address)?, address))
        };
        make().map_err(|error: io::Error| {
            format!("cannot make its control socket in {}: {error}", self.ground.mark())
        })
    }

    /// What tells its processes, also to a manager that comes after this one.
    pub(super) fn mark(&self, (id, key): Place) -> String {
        format!("{}:{id}:{key}", self.ground.mark())
    }

    pub(super) fn terminate(&mut self, place: Place) {
        let spec = self.apps.get(&place.0).and_then(|app| Some(&app.slot(place.1)?.spec));
        let signal = spec.and_then(|spec| signal_of(&spec.stop_signal)).unwrap_or(libc::SIGTERM);
        if let Some(life) = self.lives.get(&place) {
            self.tell(place, "told to end");
            life.child.signal(signal);
        }
    }

    /// Something has happened to a process: it has said something, or ended.
    pub(super) fn look_at(&mut self, place: Place) {
        // In this order, so that nothing that it has said is missed.
        let ended = self.lives.get(&place).is_some_and(|life| life.child.has_ended());
        self.hear(place);
        let Some(life) = self.lives.get_mut(&place).filter(|_| ended) else { return };
        // What it has started ends with it, before its number is free.
        life.child.kill_group();
        let how = life.child.reap().unwrap_or(Exit::Unknown);
        let (pid, gives_up) = (life.child.pid(), life.answers);
        if let Some(life) = self.lives.remove(&place) {
            self.keep_counts(place.0, &life);
        }
        self.ripe.remove(&place);
        self.unlogged.remove(&place);
        self.stop_asking(place);
        self.happened(place, process::Event::Exited { how, gives_up });
        self.tell_end(Some(pid), place, &how.to_string(), how);
    }

    /// Waits for those that have ended and are nobody else's. Here, where no process is between its
    /// start and its place among the lives, so that none is taken for an orphan.
    pub(super) fn bury_orphans(&mut self) {
        let mut last = None;
        while let Some(orphans) = &self.orphans {
            if last.is_none() {
                orphans.hear();
            }
            let ended = orphans.ended().filter(|pid| last != Some(*pid));
            let Some(pid) = ended else { return };
            last = Some(pid);
            let is = |(_, life): &(&Place, &Life)| life.child.pid() == pid;
            match self.lives.iter().find(is).map(|(place, _)| *place) {
                Some(place) => self.look_at(place),
                None => orphans.bury(pid),
            }
        }
    }

    /// Takes in what a program has answered, or said unasked.
    fn hear(&mut self, place: Place) {
        let Some(life) = self.lives.get_mut(&place) else { return };
        let Some(link) = &mut life.link else { return };
        let Ok(told) = link.hear() else {
            life.link = None;
            return self.stop_asking(place);
        };
        for (purpose, tell, _) in told {
            self.take_in(place, purpose, tell);
        }
    }

    fn take_in(&mut self, place: Place, purpose: Option<Purpose>, tell: Tell) {
        let Some(life) = self.lives.get_mut(&place) else { return };
        if !life.answers {
            life.answers = true;
            // It will say itself when it is ready.
            self.ripe.remove(&place);
        }
        match tell {
            Tell::Status(report) => {
                let closed = report.closed;
                life.hear(report);
                if life.samples[1].is_none() {
                    life.note();
                }
                self.answered(place);
                if closed {
                    self.closed(place);
                }
            }
            Tell::Metrics { text } => self.metrics_answered(place, text),
            Tell::Closed => self.closed(place),
            Tell::Done if purpose == Some(Purpose::Scale) => self.scaled(place, Ok(())),
            Tell::Failed { problem } if purpose == Some(Purpose::Scale) => {
                self.scaled(place, Err(problem));
            }
            Tell::Done | Tell::Failed { .. } | Tell::Sockets { .. } => {}
        }
    }

    fn closed(&mut self, (id, key): Place) {
        if let Some(app) = self.apps.get_mut(&id) {
            let effects = app.closed(key);
            self.enqueue(id, effects);
        }
    }

    fn scaled(&mut self, (id, _): Place, result: Result<(), String>) {
        if let Some(app) = self.apps.get_mut(&id) {
            let effects = app.scaled(result, Instant::now());
            self.enqueue(id, effects);
        }
    }

    pub(super) fn ask_to_scale(&mut self, place: Place, instances: String) {
        let link = self.lives.get_mut(&place).and_then(Life::link_mut);
        let asked = link.is_some_and(|link| link.ask(Ask::Scale { instances }, Purpose::Scale));
        if !asked {
            self.scaled(place, Err("it does not answer".to_owned()));
        }
    }

    pub(super) fn tell_alone(&mut self, place: Place) {
        if let Some(link) = self.lives.get_mut(&place).and_then(Life::link_mut) {
            // One that has gone accepts nothing.
            let _gone = link.ask(Ask::Alone, Purpose::Tell);
        }
    }

    /// Takes in what programs say at the socket for that.
    pub(super) fn hear_programs(&mut self) {
        while let Some(heard) = self.hearing.hear() {
            let is = |(_, life): &(&Place, &Life)| life.child.pid() == heard.pid;
            let place = self.lives.iter().find(is).map(|(place, _)| *place);
            let place = place.or_else(|| self.leader_of(heard.pid));
            let lines = heard.text.lines();
            if let Some(place) = place
                && lines.clone().any(|line| line == "READY=1")
            {
                self.ready(place, lines.clone().any(|line| line == EMBEDS));
            }
        }
    }

    /// The process that has started another, as far as it leads its group.
    fn leader_of(&self, pid: u32) -> Option<Place> {
        let leader = Stat::of(pid)?.group;
        let is = |(_, life): &(&Place, &Life)| life.child.pid() == leader;
        self.lives.iter().find(is).map(|(place, _)| *place)
    }

    fn ready(&mut self, place: Place, embeds: bool) {
        if !embeds {
            self.notifies.insert(place.0);
        }
        self.ripe.remove(&place);
        self.tell_ready(place, embeds);
        if let Some(life) = self.lives.get_mut(&place) {
            life.answers |= embeds;
            if let Some(link) = life.link_mut() {
                // So that it is known how many workers it has.
                let _gone = link.ask(Ask::Status, Purpose::Status);
            }
        }
    }

    /// A program that has said nothing has run for long enough.
    pub(super) fn ripen(&mut self, place: Place) {
        if self.lives.get(&place).is_some_and(|life| !life.answers) {
            self.tell_ready(place, false);
        }
    }

    fn tell_ready(&mut self, (id, key): Place, embeds: bool) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        let is_online = |app: &super::App| app.slot(key).is_some_and(|it| it.process.is_online());
        let before = is_online(app);
        let effects = app.ready(key, embeds, Instant::now());
        let news = !before && is_online(app);
        self.enqueue(id, effects);
        if news {
            self.tell((id, key), "ready");
        }
    }

    /// The processes of an app that serve, or are about to.
    pub(super) fn serving(&self, id: u32) -> impl Iterator<Item = &Life> {
        let slots = self.apps.get(&id).map(super::App::slots).unwrap_or_default().iter();
        let serving = slots.filter(|slot| {
            slot.role == Role::Serving && !matches!(slot.process.state(), State::Stopped)
        });
        serving.filter_map(move |slot| self.lives.get(&(id, slot.key)))
    }
}
