//! From clusters to a process that serves until it is told to stop.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use super::Exit;
use super::announce::{Announcer, say};
use super::manager::Manager;
use super::status::Status;
use crate::cluster::{self, Cluster, ClusterHandle, Event, StartError};
use crate::sys::limits;
use crate::sys::membarrier;
use crate::sys::signal::{Signal, Signals};

/// What an exit code that a signal forced begins at.
const SIGNAL_BASE: i32 = 128;

/// What the process is told, by whomever.
enum Notice {
    Signal(Signal),
    /// Something happened to the cluster of this index.
    Happened(usize, Event),
    /// One of the clusters has ended.
    Stopped,
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
        if matches!(event, Event::Restarting { .. } | Event::Listening { .. }) {
            // Nobody waits any more.
            let _ended = self.notices.send(Notice::Happened(self.cluster, event.clone()));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let _ended = self.notices.send(Notice::Stopped);
    }
}

impl Cluster {
    /// Serves until the process is told to stop, as a program of its own.
    ///
    /// It raises the soft limits of open files and of locked memory, says on stderr who runs where,
    /// and obeys signals: TERM and INT drain, and a second one ends the process at once. HUP and
    /// USR1 are ignored, with a word.
    ///
    /// A service manager such as systemd may pass the listening sockets (`LISTEN_FDS`, see
    /// [`inherit_listeners`](Self::inherit_listeners)), and hears when all workers listen and when
    /// the end begins, if it gave `NOTIFY_SOCKET`; its watchdog is fed as well.
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
pub(crate) fn run_all(mut clusters: Vec<Cluster>) -> Exit {
    // Said before anything of the process is changed.
    if let Some(error) = clusters.iter().find_map(|cluster| cluster.check().err()) {
        return error.into();
    }
    // Before anything else opens a descriptor, so that one that was promised and not passed is
    // noticed.
    if let Err(error) = cluster::allot(&mut clusters) {
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
    let spawn = |(index, cluster): (usize, Cluster)| {
        let mut announcer = Announcer::new(several.then(|| cluster.called()));
        let reporter = Reporter { cluster: index, notices: notices.clone() };
        let told = cluster.on_event(move |event| {
            for line in announcer.lines(event) {
                say(&line);
            }
            reporter.report(event);
        });
        told.spawn()
    };
    clusters.into_iter().enumerate().map(spawn).collect()
}

/// Obeys until every cluster has ended. They end together: a program that serves half of what it
/// should is worse than one that somebody restarts.
fn supervise(handles: Vec<ClusterHandle>, inbox: &Receiver<Notice>) -> Exit {
    let mut manager = Manager::of_process();
    let mut status = Status::of(&handles);
    manager.ready(&status.line());
    let mut serving = handles.len();
    while serving > 0 {
        match next(inbox, &mut manager) {
            Notice::Signal(Signal::Reload) => {
                say("SIGHUP ignored: to use another configuration, stop and start");
            }
            Notice::Signal(Signal::Reopen) => {
                say("SIGUSR1 ignored: there are no log files to open again");
            }
            Notice::Signal(Signal::Terminate | Signal::Interrupt) => {
                drain(&handles, &mut manager);
            }
            Notice::Happened(cluster, event) => {
                if status.heed(cluster, &event) {
                    manager.status(&status.line());
                }
            }
            Notice::Stopped => {
                serving -= 1;
                drain(&handles, &mut manager);
            }
        }
    }
    Exit::after(handles.into_iter().map(ClusterHandle::join))
}

/// The manager hears of it first, lest it take the end for a failure.
fn drain(handles: &[ClusterHandle], manager: &mut Manager) {
    manager.stopping();
    handles.iter().for_each(ClusterHandle::drain);
}

/// Waits for the next notice, and feeds the watchdog meanwhile: here, so that it is fed only as
/// long as the program can be told to end.
fn next(inbox: &Receiver<Notice>, manager: &mut Manager) -> Notice {
    loop {
        let received = match manager.pulse(Instant::now()) {
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(notice) => return notice,
            Err(RecvTimeoutError::Timeout) => {}
            // It cannot be: `run_all` holds a sender.
            Err(RecvTimeoutError::Disconnected) => return Notice::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(matches!(inbox.recv(), Ok(Notice::Stopped)));
        assert!(inbox.recv().is_err());
    }
}
