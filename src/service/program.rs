//! The clusters of a program, which may become others while it runs.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::Exit;
use super::announce::{Announcer, say};
use super::run::Notice;
use crate::cluster::{Cluster, ClusterHandle, Ender, Event, Remote, StartError};

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
}

/// Clusters that may not have started yet, and are to end all the same if the program is told to.
#[derive(Default)]
pub(super) struct Starting(Mutex<(bool, Vec<Ender>)>);

impl Starting {
    /// A cluster has begun to start.
    fn begun(&self, ender: Ender) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 {
            ender();
        }
        known.1.push(ender);
    }

    /// None of them need start any more.
    pub(super) fn end(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0 = true;
        known.1.iter().for_each(|ender| ender());
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
    /// Starts all clusters. If one fails, those before it end with their handles.
    pub(super) fn start(
        clusters: Vec<Cluster>,
        configuration: Option<Box<dyn Configuration>>,
        notices: Sender<Notice>,
        starting: Arc<Starting>,
    ) -> Result<Self, StartError> {
        let (several, apps) = (clusters.len() > 1, Vec::new());
        let (started, serving, ending) = (0, 0, false);
        let mut program =
            Self { configuration, notices, apps, started, several, serving, ending, starting };
        for cluster in clusters {
            let app = program.spawn(cluster)?;
            program.admit(app);
        }
        Ok(program)
    }

    fn spawn(&mut self, cluster: Cluster) -> Result<App, StartError> {
        let (number, name) = (self.started, cluster.called().to_owned());
        self.started += 1;
        let mut announcer = Announcer::new(self.several.then_some(&name));
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
        self.serving > 0
    }

    /// Asks all clusters to end.
    pub(super) fn drain(&mut self) {
        self.ending = true;
        self.apps.iter().for_each(|app| app.handle.drain());
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
        Exit::after(self.apps.into_iter().map(|app| app.handle.join()))
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
        self.several |= wanted.len() > 1;
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
        let (changed, started) = (prepared.len(), fresh.len());
        for ready in prepared {
            // Only if a life that was ready has ended within this moment.
            ready.commit().map_err(|error| Refusal::Part(error.to_string()))?;
        }
        for app in fresh {
            self.admit(app);
        }
        let mut stopped = 0;
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
