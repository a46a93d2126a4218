//! The clusters of a program, which may become others while it runs.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::Exit;
use super::announce::{Announcer, banner_of_programs, one_line, say};
use super::companion::{Companions, Order, Word};
use super::run::Notice;
use crate::cluster::{Cluster, ClusterHandle, Ender, Event, Remote, StartError};
use crate::sys::cpu::AllowedCpus;
use crate::sys::signal::Signals;

/// What says which clusters a program is to have.
pub(crate) trait Configuration {
    /// Reads it again.
    ///
    /// # Errors
    /// It is wrong; every mistake, a line each.
    fn read(&mut self) -> Result<Vec<Wanted>, String>;

    /// What was read last holds from now on.
    fn accept(&mut self);
}

/// What makes up a program.
#[derive(Default)]
pub(crate) struct Parts {
    /// Started first, all of them.
    pub clusters: Vec<Cluster>,
    /// Says at a HUP what is to be served from then on.
    pub configuration: Option<Box<dyn Configuration>>,
    /// Programs that are part of it.
    pub companions: Option<Box<dyn Companions>>,
    /// If they are heard already.
    pub signals: Option<Signals>,
}

/// A cluster that a configuration wants.
pub(crate) struct Wanted {
    /// It.
    pub cluster: Cluster,
    /// It is what it was.
    pub unchanged: bool,
}

/// The clusters of a program.
pub(super) struct Program {
    configuration: Option<Box<dyn Configuration>>,
    notices: Sender<Notice>,
    /// By the number that notices name them by.
    apps: Vec<App>,
    started: usize,
    /// Whether messages name the cluster.
    several: bool,
    serving: usize,
    ending: bool,
    starting: Arc<Starting>,
    companions: Option<Box<dyn Companions>>,
    /// Somebody looks after them.
    attended: bool,
    /// All of them have ended, with this code.
    all_ended: Option<u8>,
    /// How the program is to end, whatever its clusters say.
    verdict: Option<Exit>,
    /// What this process may use less of than the machine has.
    bounds: Option<String>,
}

/// Who may not have started yet, and is to end all the same if the program is told to.
#[derive(Default)]
pub(super) struct Starting {
    known: Mutex<Known>,
    aborters: Mutex<Vec<Order>>,
}

#[derive(Default)]
struct Known {
    ending: bool,
    enders: Vec<Ender>,
}

impl Starting {
    /// A cluster has begun to start.
    fn begun(&self, ender: Ender) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.ending {
            ender();
        }
        known.enders.push(ender);
    }

    /// Others are to end with this process.
    fn tie(&self, aborter: Order) {
        self.aborters.lock().unwrap_or_else(PoisonError::into_inner).push(aborter);
    }

    /// None of them need start any more.
    pub(super) fn end(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.ending = true;
        known.enders.iter().for_each(|ender| ender());
    }

    /// Whether they have been told to end.
    fn is_ending(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).ending
    }

    /// This process ends at once, and whatever is tied to it.
    pub(super) fn abort(&self) {
        let aborters = self.aborters.lock().unwrap_or_else(PoisonError::into_inner);
        aborters.iter().for_each(|aborter| aborter());
    }
}

/// Why a program has not become what its configuration says.
enum Refusal {
    /// It is what it was.
    Whole(String),
    /// It has become so in part.
    Part(String),
}

struct App {
    number: usize,
    name: String,
    handle: ClusterHandle,
    /// The configuration no longer has it.
    dismissed: bool,
    /// It has let go of its sockets.
    closed: bool,
}

/// Passes on what a cluster's supervisor says, and says so when the supervisor is gone, in whatever
/// way: dropped with it, this is its last word.
struct Reporter {
    cluster: usize,
    notices: Sender<Notice>,
}

impl Reporter {
    fn report(&self, event: &Event) {
        // Of what else happens nobody makes anything.
        if matches!(event, Event::Restarting { .. } | Event::Listening { .. } | Event::Closed) {
            // Nobody waits any more.
            let _ended = self.notices.send(Notice::Happened(self.cluster, event.clone()));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let _ended = self.notices.send(Notice::Stopped(self.cluster));
    }
}

impl Program {
    /// Starts all clusters, then the programs beside them. If one fails, those before it end.
    pub(super) fn start(
        parts: Parts,
        notices: Sender<Notice>,
        starting: Arc<Starting>,
    ) -> Result<Self, Exit> {
        let Parts { clusters, configuration, companions, .. } = parts;
        let beside = companions.as_ref().map_or(0, |companions| companions.count());
        let mut program = Self {
            configuration,
            notices,
            apps: Vec::new(),
            started: 0,
            several: clusters.len() + beside > 1,
            serving: 0,
            ending: false,
            starting,
            companions: None,
            attended: false,
            all_ended: None,
            verdict: None,
            bounds: AllowedCpus::capture().ok().and_then(|cpus| cpus.bounds()),
        };
        for cluster in clusters {
            let app = program.spawn(cluster)?;
            program.admit(app);
        }
        if let Some(companions) = companions {
            program.start_companions(companions)?;
        }
        Ok(program)
    }

    fn start_companions(&mut self, mut companions: Box<dyn Companions>) -> Result<(), Exit> {
        if self.apps.is_empty() {
            say(&banner_of_programs(companions.count(), self.bounds.as_deref()));
        }
        self.starting.begun(companions.ender());
        self.starting.tie(companions.aborter());
        let notices = self.notices.clone();
        let told = move |word| match word {
            // Also while nobody reads notices.
            Word::Line(line) => say(&one_line(&line)),
            // Nobody waits any more.
            word => drop(notices.send(Notice::Told(word))),
        };
        if let Err(exit) = companions.start(Arc::new(told)) {
            self.drain();
            companions.end();
            return Err(exit);
        }
        self.attended = companions.are_attended();
        self.companions = Some(companions);
        Ok(())
    }

    fn spawn(&mut self, cluster: Cluster) -> Result<App, StartError> {
        let (number, name) = (self.started, cluster.called().to_owned());
        self.started += 1;
        let mut announcer = Announcer::new(self.several.then_some(&name), self.bounds.clone());
        let reporter = Reporter { cluster: number, notices: self.notices.clone() };
        let told = cluster.on_event(move |event| {
            for line in announcer.lines(event) {
                say(&line);
            }
            reporter.report(event);
        });
        let starting = Arc::clone(&self.starting);
        let told = told.on_begun(move |ender| starting.begun(ender));
        let handle = told.spawn()?;
        Ok(App { number, name, handle, dismissed: false, closed: false })
    }

    fn admit(&mut self, app: App) {
        self.apps.push(app);
        self.serving += 1;
    }

    /// Those that the configuration has.
    pub(super) fn handles(&self) -> impl Iterator<Item = (usize, &ClusterHandle)> {
        let present = self.apps.iter().filter(|app| !app.dismissed);
        present.map(|app| (app.number, &app.handle))
    }

    /// What others may ask of them.
    pub(super) fn remotes(&self) -> Vec<(String, Remote)> {
        let present = self.apps.iter().filter(|app| !app.dismissed);
        present.map(|app| (app.name.clone(), app.handle.remote())).collect()
    }

    /// Takes in that a cluster has let go of its sockets; whether that was the last one.
    pub(super) fn closed(&mut self, number: usize) -> bool {
        for app in self.apps.iter_mut().filter(|app| app.number == number) {
            app.closed = true;
        }
        self.ending && self.apps.iter().all(|app| app.closed)
    }

    /// Whether there is anything left to supervise.
    pub(super) fn is_serving(&self) -> bool {
        self.serving > 0 || self.attended
    }

    /// How many programs run beside the clusters.
    pub(super) fn beside(&self) -> usize {
        self.companions.as_ref().map_or(0, |companions| companions.count())
    }

    /// Asks everybody to end.
    pub(super) fn drain(&mut self) {
        self.ending = true;
        self.apps.iter().for_each(|app| app.handle.drain());
        if let Some(companions) = &self.companions {
            companions.ender()();
        }
    }

    /// Takes in what is said of the programs. True if all is to end therefore.
    pub(super) fn told(&mut self, word: Word) -> bool {
        match word {
            Word::Line(line) => say(&line),
            Word::Errored(problem) => return self.end_by(Exit::errored(problem)),
            Word::AllEnded(code) => self.all_ended = Some(code),
            Word::Over => {
                self.attended = false;
                return self.end_by(Exit::failed(&"nobody looks after the programs any more"));
            }
        }
        self.is_done()
    }

    /// Whether nothing is left that could serve, although nobody has told it to end.
    pub(super) fn is_done(&mut self) -> bool {
        let serves = self.apps.iter().any(|app| !app.dismissed);
        match self.all_ended {
            Some(code) if !serves => self.end_by(Exit::with(code, None)),
            _ => false,
        }
    }

    /// It is to end so, unless it ends already.
    fn end_by(&mut self, exit: Exit) -> bool {
        // The word of an end may come after what it has led to.
        let ends = self.ending || self.starting.is_ending();
        if !ends {
            self.verdict = Some(exit);
        }
        !ends
    }

    /// A cluster has ended. True if nobody had dismissed it: then the others are to end as well.
    pub(super) fn ended(&mut self, number: usize) -> bool {
        let Some(at) = self.apps.iter().position(|app| app.number == number) else { return false };
        self.serving -= 1;
        if !self.apps[at].dismissed {
            return true;
        }
        let App { name, handle, .. } = self.apps.swap_remove(at);
        if let Err(panic) = handle.join() {
            say(&format!("warning: {name}: {panic}"));
        }
        // With the last one gone the program ends; but it never dismisses all.
        false
    }

    /// How it ended.
    pub(super) fn join(self) -> Exit {
        if let Some(companions) = self.companions {
            companions.end();
        }
        let exit = Exit::after(self.apps.into_iter().map(|app| app.handle.join()));
        self.verdict.unwrap_or(exit)
    }

    /// Reads the configuration again and becomes what it says, as a whole or not at all. Returns
    /// what to tell the operator.
    pub(super) fn reload(&mut self) -> String {
        if self.ending {
            return "SIGHUP ignored: the program ends".to_owned();
        }
        let Some(mut configuration) = self.configuration.take() else {
            return "SIGHUP ignored: this program has no configuration file".to_owned();
        };
        let read = configuration.read().map_err(Refusal::Whole);
        let told = match read.and_then(|wanted| self.become_all(wanted)) {
            Ok(told) => {
                configuration.accept();
                told
            }
            Err(Refusal::Whole(problem)) => {
                format!("not reloaded, everything is as it was:\n{problem}")
            }
            Err(Refusal::Part(problem)) => format!("reloaded only in part: {problem}"),
        };
        self.configuration = Some(configuration);
        told
    }

    /// First everything that can fail, then what cannot.
    fn become_all(&mut self, wanted: Vec<Wanted>) -> Result<String, Refusal> {
        let (mut fresh, mut prepared, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = 0;
        if let Some(companions) = &mut self.companions {
            companions.may_change().map_err(Refusal::Whole)?;
        }
        self.several |= wanted.len() + self.beside() > 1;
        for Wanted { cluster, unchanged } in wanted {
            let name = cluster.called().to_owned();
            let refuse = |error: &dyn std::fmt::Display| Refusal::Whole(format!("{name}: {error}"));
            let known = self.apps.iter().find(|app| !app.dismissed && app.name == name);
            match known {
                Some(_) if unchanged => kept += 1,
                Some(app) => {
                    let ready = app.handle.prepare(cluster);
                    prepared.push(ready.map_err(|error| refuse(&error))?);
                }
                None => {
                    fresh.push(self.spawn(cluster).map_err(|error| refuse(&error))?);
                }
            }
            names.push(name);
        }
        let (mut changed, mut started) = (prepared.len(), fresh.len());
        if let Some(companions) = &mut self.companions {
            let change = companions.change().map_err(Refusal::Whole)?;
            self.attended |= companions.are_attended();
            if change.changed + change.started > 0 {
                self.all_ended = None;
            }
            changed += change.changed;
            started += change.started;
            kept += change.kept;
        }
        for ready in prepared {
            // Only if a life that was ready has ended within this moment.
            ready.commit().map_err(|error| Refusal::Part(error.to_string()))?;
        }
        for app in fresh {
            self.admit(app);
        }
        let mut stopped = self.companions.as_mut().map_or(0, |companions| companions.dismiss());
        for app in self.apps.iter_mut().filter(|app| !app.dismissed && !names.contains(&app.name)) {
            app.dismissed = true;
            app.handle.drain();
            stopped += 1;
        }
        Ok(format!(
            "reloaded: {changed} changed, {started} started, {stopped} stopped, {kept} as before"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_supervisor_that_is_gone_counts_as_ended() {
        let (notices, inbox) = mpsc::channel();
        let gone = thread::spawn(move || {
            let reporter = Reporter { cluster: 3, notices };
            reporter.report(&Event::Listening { worker: 0, cpu: 0 });
            reporter.report(&Event::Started { worker: 0, cpu: 0 });
            // As a panic does, without its noise.
            std::panic::resume_unwind(Box::new(()));
        });
        gone.join().unwrap_err();
        assert!(matches!(inbox.recv(), Ok(Notice::Happened(3, Event::Listening { .. }))));
        assert!(matches!(inbox.recv(), Ok(Notice::Stopped(3))));
        assert!(inbox.recv().is_err());
    }
}
