//! From clusters to a process that serves until it is told to stop.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::Exit;
use super::announce::{Announcer, say};
use crate::cluster::{Cluster, ClusterHandle, Event, StartError};
use crate::sys::limits;
use crate::sys::membarrier;
use crate::sys::signal::{Signal, Signals};

/// What an exit code that a signal forced begins at.
const SIGNAL_BASE: i32 = 128;

/// What the process is told, by whomever.
enum Notice {
    Signal(Signal),
    /// One of the clusters has ended.
    Stopped,
}

impl Cluster {
    /// Serves until the process is told to stop, as a program of its own.
    ///
    /// It raises the soft limits of open files and of locked memory, says on stderr who runs where,
    /// and obeys signals: TERM and INT drain, and a second one ends the process at once. HUP and
    /// USR1 are ignored, with a word.
    ///
    /// ```no_run
    /// use corelane::{App, Cluster, Exit};
    ///
    /// fn main() -> Exit {
    ///     let app = || App::new().get("/", async || "Hello, Cluster!");
    ///     Cluster::new(app).listen("0.0.0.0:3000").run()
    /// }
    /// ```
    pub fn run(self) -> Exit {
        run_all(vec![self])
    }
}

/// Serves these clusters as one program: all of them, or none.
pub(crate) fn run_all(clusters: Vec<Cluster>) -> Exit {
    // Said before anything of the process is changed.
    if let Some(error) = clusters.iter().find_map(|cluster| cluster.check().err()) {
        return error.into();
    }
    limits::Limits::raise();
    // Without it, the first time that a worker falls asleep takes longer.
    let _slower = membarrier::register();
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return Exit::failed(&format!("cannot listen for signals: {error}")),
    };
    let closer = signals.closer();
    let (notices, inbox) = mpsc::channel();
    let watch = {
        let notices = notices.clone();
        thread::Builder::new()
            .name("corelane-signal".to_owned())
            .spawn(move || watch(signals, &notices))
    };
    let watch = match watch {
        Ok(watch) => watch,
        Err(error) => return Exit::failed(&format!("cannot start a thread: {error}")),
    };
    let exit = match spawn_all(clusters, &notices) {
        Ok(handles) => supervise(handles, &inbox),
        Err(error) => error.into(),
    };
    closer.close();
    // It ends as soon as it is closed, whatever it was at.
    let _watched = watch.join();
    exit
}

/// Passes signals on; ends the process at the second one that asks for an end.
fn watch(mut signals: Signals, notices: &Sender<Notice>) {
    let mut ending = false;
    while let Some(signal) = signals.wait() {
        if matches!(signal, Signal::Terminate | Signal::Interrupt) {
            if ending {
                say("told to end again: ending at once");
                std::process::exit(SIGNAL_BASE + signal.number());
            }
            ending = true;
        }
        if notices.send(Notice::Signal(signal)).is_err() {
            return;
        }
    }
}

/// Starts all clusters. If one fails, those before it end with their handles.
fn spawn_all(
    clusters: Vec<Cluster>,
    notices: &Sender<Notice>,
) -> Result<Vec<ClusterHandle>, StartError> {
    let several = clusters.len() > 1;
    let spawn = |cluster: Cluster| {
        let mut announcer = Announcer::new(several.then(|| cluster.called()));
        let notices = notices.clone();
        let told = cluster.on_event(move |event| {
            for line in announcer.lines(event) {
                say(&line);
            }
            if matches!(event, Event::Stopped(_)) {
                // Nobody waits any more.
                let _ended = notices.send(Notice::Stopped);
            }
        });
        told.spawn()
    };
    clusters.into_iter().map(spawn).collect()
}

/// Obeys until every cluster has ended. They end together: a program that serves half of what it
/// should is worse than one that somebody restarts.
fn supervise(handles: Vec<ClusterHandle>, inbox: &Receiver<Notice>) -> Exit {
    let mut serving = handles.len();
    while serving > 0 {
        let Ok(notice) = inbox.recv() else { break };
        match notice {
            Notice::Signal(Signal::Reload) => {
                say("SIGHUP ignored: to use another configuration, stop and start");
            }
            Notice::Signal(Signal::Reopen) => {
                say("SIGUSR1 ignored: there are no log files to open again");
            }
            Notice::Signal(Signal::Terminate | Signal::Interrupt) => {
                handles.iter().for_each(ClusterHandle::drain);
            }
            Notice::Stopped => {
                serving -= 1;
                handles.iter().for_each(ClusterHandle::drain);
            }
        }
    }
    Exit::after(handles.into_iter().map(ClusterHandle::join))
}
