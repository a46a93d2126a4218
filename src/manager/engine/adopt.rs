//! What a manager before has left: its apps, and those of their processes that still run.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use socket2::SockRef;

use super::super::app::{App, Order, Role, Slot};
use super::super::ground::Ground;
use super::super::launch::MARK;
use super::super::link::{Link, Purpose};
use super::super::passed::{address_of, cookie};
use super::super::process::{self, Found, State, Then};
use super::super::store::{Memory, Phase, RememberedApp, RememberedProcess, RememberedRole};
use super::super::upgrade::Kept;
use super::Engine;
use super::life::Life;
use crate::control::wire::{Ask, ProgramReport, Tell};
use crate::control::{Spec, Status};
use crate::sys::child::{Child, environment};
use crate::sys::stat::Stat;

/// How long a program may take to give its sockets back.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many descriptors of a program are looked at.
const DESCRIPTORS_MAX: i32 = 256;

impl Engine {
    /// Goes on where a manager before has ended.
    pub(in crate::manager) fn recall(&mut self, memory: Memory, mut kept: Kept) {
        self.next_id = memory.next_id;
        for app in memory.apps {
            let sockets = kept.take_sockets(app.id);
            self.regain_kept(&app, sockets);
            self.recall_app(app);
        }
        self.end_strays();
        self.passed.drop_returned();
        self.keep_sockets();
        self.perform_all();
        self.changed = true;
    }

    /// Takes the sockets that were kept open.
    fn regain_kept(&mut self, app: &RememberedApp, kept: Vec<OwnedFd>) {
        if kept.is_empty() {
            return;
        }
        let known = kept.into_iter().filter_map(|socket| Some((address_of(&socket)?, socket)));
        self.regain(app.id, &app.spec, &app.listens, known.collect());
    }

    /// Holds these for an app from now on.
    fn regain(
        &mut self,
        id: u32,
        spec: &Spec,
        listens: &[String],
        sockets: Vec<(String, OwnedFd)>,
    ) {
        let mut regained = super::Sockets::default();
        match regained.regain(spec, listens, sockets) {
            Ok(()) => drop(self.sockets.insert(id, regained)),
            Err(error) => {
                let name = &spec.name;
                tracing::warn!("{name}: its listening sockets are not held: {error}");
            }
        }
    }

    /// What is to stay open when this process becomes another program.
    pub(in crate::manager) fn into_kept(self) -> io::Result<Kept> {
        let mut kept = Kept::default();
        for (id, sockets) in &self.sockets {
            kept.keep_sockets(*id, &sockets.descriptors())?;
        }
        if let Ground::Home { claim, .. } = &self.ground {
            kept.keep_lock(claim.lock())?;
        }
        for (label, socket) in self.passed.units() {
            kept.keep_unit(label, socket)?;
        }
        self.leave();
        Ok(kept)
    }

    /// Leaves everything as it is for whoever comes next: nothing is closed before the process
    /// ends, and no path of a socket is removed.
    pub(in crate::manager) fn leave(self) {
        std::mem::forget(self);
    }

    fn recall_app(&mut self, remembered: RememberedApp) {
        // Programs that do not answer are waited for.
        self.herald.beat(Instant::now());
        let id = remembered.id;
        let spec = Arc::new(remembered.spec);
        let mut app = App::new(id, Arc::clone(&spec), self.cpus);
        let RememberedApp { restarts, killed, embeds, slots_made, .. } = remembered;
        app.recall(restarts, killed, embeds, slots_made);
        if remembered.notifies {
            self.notifies.insert(id);
        }
        self.next_id = self.next_id.max(id + 1);
        let mut found = Vec::new();
        for process in remembered.processes {
            if let Some(child) = Child::found(process.pid, process.born) {
                let spec = process.spec.clone().map_or_else(|| Arc::clone(&spec), Arc::new);
                app.restore(process.key, role(process.role), spec);
                found.push((process, child));
            }
        }
        let errored = remembered.errored.filter(|_| found.is_empty());
        let stays = errored.is_some();
        if let Some(problem) = errored {
            app.restore_errored(problem);
        }
        let embeds = app.embeds() == Some(true);
        self.apps.insert(id, app);
        for (process, child) in found {
            self.adopt(id, &process, child, embeds, &remembered.listens);
        }
        if remembered.wanted && !self.sockets.contains_key(&id) {
            let returned = self.passed.take_returned(&remembered.listens);
            if !returned.is_empty() {
                self.regain(id, &spec, &remembered.listens, returned);
            }
        }
        let Some(app) = self.apps.get_mut(&id) else { return };
        app.resume_rollout();
        if remembered.wanted && !killed && !stays {
            self.tickets += 1;
            self.recalled.insert(self.tickets, id);
            let effects = app.order(Order::Start, Some(self.tickets), Instant::now());
            self.enqueue(id, effects);
        }
    }

    /// Takes a process over that runs.
    fn adopt(
        &mut self,
        id: u32,
        process: &RememberedProcess,
        child: Child,
        embeds: bool,
        listens: &[String],
    ) {
        let place = (id, process.key);
        let Some(spec) = self.apps.get(&id).and_then(|app| app.slot(process.key)) else { return };
        let spec = Arc::clone(&spec.spec);
        let until = Instant::now() + PATIENCE;
        let link = self.ground.address(id, process.key).and_then(|address| Link::connect(&address));
        let mut life = Life::new(child, link.ok(), embeds);
        let report = embeds.then(|| life.ask_report(until)).flatten();
        if !self.sockets.contains_key(&id) && !spec.listen.is_empty() {
            let mut sockets = life.take_sockets(embeds, until);
            let known: Vec<_> = sockets.iter().filter_map(|(_, socket)| cookie(socket)).collect();
            let returned = self.passed.take_returned(listens);
            let is_new = |(_, socket): &(String, OwnedFd)| {
                cookie(socket).is_some_and(|cookie| !known.contains(&cookie))
            };
            sockets.extend(returned.into_iter().filter(is_new));
            self.regain(id, &spec, listens, sockets);
        }
        let age = life.child().age();
        let found = match (process.phase, &report) {
            (Phase::Launching, Some(report)) if report.ready => Found::Online { age },
            (Phase::Launching, _) => Found::Launching,
            (Phase::Online, _) => Found::Online { age },
            (Phase::Stopping, _) => Found::Stopping { again: false },
            (Phase::Restarting, _) => Found::Stopping { again: true },
        };
        let tell = matches!(found, Found::Stopping { .. })
            && !report.as_ref().is_some_and(|report| report.draining);
        if let Some(report) = report {
            life.hear(report);
        }
        let pid = life.child().pid();
        self.lives.insert(place, life);
        tracing::info!("{}: adopted pid {pid}", spec.name);
        if found == Found::Launching {
            self.wait_for_ripeness(place, &spec);
        }
        self.happened(place, process::Event::Adopted(found));
        if tell {
            self.terminate(place);
        }
    }

    /// Ends processes that a manager of this home has started and does not know: it was killed
    /// before it could write them down.
    fn end_strays(&self) {
        let mark = format!("{MARK}={}:", self.ground.mark());
        let Ok(processes) = fs::read_dir("/proc") else { return };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for pid in pids {
            let known = |life: &Life| life.child().pid() == pid;
            if self.lives.values().any(known) || !leads_group(pid) {
                continue;
            }
            let environment = environment(pid).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            if variables.any(|variable| variable.starts_with(mark.as_bytes()))
                && let Ok(child) = Child::of(pid)
            {
                tracing::warn!("ended a stray process of this manager's, pid {pid}");
                child.kill_group();
            }
        }
    }

    /// All that is to be remembered.
    pub(super) fn memory(&self) -> Memory {
        let mut memory = Memory { next_id: self.next_id, ..Memory::default() };
        memory.apps = self.apps.values().map(|app| self.remembered(app)).collect();
        memory
    }

    fn remembered(&self, app: &App) -> RememberedApp {
        let id = app.id();
        let processes = app.slots().iter().filter_map(|slot| self.remembered_process(app, slot));
        RememberedApp {
            id,
            spec: app.spec().as_ref().clone(),
            wanted: app.is_wanted() || self.held.iter().any(|held| held.starts(id)),
            killed: app.is_killed(),
            restarts: app.restarts(),
            embeds: app.embeds(),
            errored: (app.status() == Status::Errored).then(|| app.problem().unwrap_or_default()),
            notifies: self.notifies.contains(&id),
            slots_made: app.slots_made(),
            listens: self.sockets.get(&id).map(super::Sockets::listens).unwrap_or_default(),
            processes: processes.collect(),
        }
    }

    fn remembered_process(&self, app: &App, slot: &Slot) -> Option<RememberedProcess> {
        let life = self.lives.get(&(app.id(), slot.key))?;
        let phase = match slot.process.state() {
            State::Launching => Phase::Launching,
            State::Online { .. } => Phase::Online,
            State::Stopping { then: Then::Stay } => Phase::Stopping,
            State::Stopping { .. } => Phase::Restarting,
            State::Stopped | State::Waiting | State::Errored => return None,
        };
        let own = !Arc::ptr_eq(&slot.spec, app.spec());
        Some(RememberedProcess {
            key: slot.key,
            pid: life.child().pid(),
            born: life.child().born(),
            role: match slot.role {
                Role::Serving => RememberedRole::Serving,
                Role::Candidate => RememberedRole::Candidate,
                Role::Retiring => RememberedRole::Retiring,
            },
            phase,
            spec: own.then(|| Spec::clone(&slot.spec)),
        })
    }
}

impl Life {
    /// How the program is, if it says so in time.
    fn ask_report(&mut self, until: Instant) -> Option<ProgramReport> {
        let link = self.link_mut()?;
        if !link.ask(Ask::Status, Purpose::Status) {
            return None;
        }
        let answers = link.wait_for(Purpose::Status, until).ok()?;
        answers.into_iter().find_map(|(tell, _)| match tell {
            Tell::Status(report) => Some(report),
            _ => None,
        })
    }

    /// The listening sockets of the program, each with its address: given by itself, or taken.
    fn take_sockets(&mut self, embeds: bool, until: Instant) -> Vec<(String, OwnedFd)> {
        if !embeds {
            return self.steal_sockets();
        }
        let Some(link) = self.link_mut() else { return Vec::new() };
        if !link.ask(Ask::Sockets, Purpose::Sockets) {
            return Vec::new();
        }
        let answers = link.wait_for(Purpose::Sockets, until).unwrap_or_default();
        let given = answers.into_iter().filter_map(|(tell, passed)| match tell {
            Tell::Sockets { addresses, .. } => Some(addresses.into_iter().zip(passed)),
            _ => None,
        });
        given.flatten().collect()
    }

    /// Those that it was passed, if the kernel lets this process have them.
    fn steal_sockets(&self) -> Vec<(String, OwnedFd)> {
        let take = |number| {
            let flags = PidfdGetfdFlags::empty();
            let socket = pidfd_getfd(self.child().as_fd(), number, flags).ok()?;
            SockRef::from(&socket).is_listener().ok().filter(|listens| *listens)?;
            Some((address_of(&socket)?, socket))
        };
        (3..DESCRIPTORS_MAX).map_while(take).collect()
    }
}

fn role(role: RememberedRole) -> Role {
    match role {
        RememberedRole::Serving => Role::Serving,
        RememberedRole::Candidate => Role::Candidate,
        RememberedRole::Retiring => Role::Retiring,
    }
}

fn leads_group(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.group == pid)
}
