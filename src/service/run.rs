//! From clusters to a process that serves until it is told to stop.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use super::Exit;
use super::announce::say;
use super::companion::Word;
use super::control::{Control, Managed};
use super::manager::Manager;
use super::program::{Parts, Program, Starting};
use super::status::Status;
use crate::cluster::{self, Cluster, Event};
use crate::sys::heap;
use crate::sys::limits;
use crate::sys::membarrier;
use crate::sys::signal::{self, Signal, Signals};

/// What an exit code that a signal forced begins at.
const SIGNAL_BASE: i32 = 128;

/// What the process is told, by whomever.
pub(super) enum Notice {
    Signal(Signal),
    /// Something happened to the cluster of this index.
    Happened(usize, Event),
    /// The cluster of this index has ended.
    Stopped(usize),
    /// Of the programs beside the clusters.
    Told(Word),
}

impl Cluster {
    /// Serves until the process is told to stop, as a program of its own.
    ///
    /// It raises the soft limits of open files and of locked memory, says on stderr who runs where,
    /// and obeys signals: TERM and INT drain, and a second one ends the process at once. HUP and
    /// USR1 are ignored, with a word; a program that can change what it serves spawns its cluster
    /// and calls [`ClusterHandle::reload`](crate::ClusterHandle::reload).
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
        run_all(Parts { clusters: vec![self], ..Parts::default() })
    }
}

/// Serves all of this as one program, or nothing.
pub(crate) fn run_all(mut parts: Parts) -> Exit {
    // Said before anything of the process is changed.
    if let Some(error) = parts.clusters.iter().find_map(|cluster| cluster.check().err()) {
        return error.into();
    }
    // Before anything else opens a descriptor, so that one that was promised and not passed is
    // noticed.
    if let Err(error) = cluster::allot(&mut parts.clusters) {
        return error.into();
    }
    let managed = Managed::of_process();
    if let Some(managed) = &managed {
        let clusters = parts.clusters.into_iter();
        parts.clusters = clusters.map(|cluster| managed.direct(cluster)).collect();
    }
    limits::Limits::raise();
    heap::keep_memory();
    // Without it, the first time that a worker falls asleep takes longer.
    let _slower = membarrier::register();
    let mut listen = || parts.signals.take().map_or_else(Signals::listen, Ok);
    let signals = match signal::outlive_full_files().and_then(|()| listen()) {
        Ok(signals) => signals,
        Err(error) => return Exit::failed(&format!("cannot listen for signals: {error}")),
    };
    let closer = signals.closer();
    let (notices, inbox) = mpsc::channel();
    let starting = Arc::<Starting>::default();
    let watch = {
        let (notices, watching) = (notices.clone(), Arc::clone(&starting));
        thread::Builder::new()
            .name("corelane-signal".to_owned())
            .spawn(move || watch(signals, &notices, &watching))
    };
    let watch = match watch {
        Ok(watch) => watch,
        Err(error) => return Exit::failed(&format!("cannot start a thread: {error}")),
    };
    let (control, is_managed) = (Control::default(), managed.is_some());
    if let Some(managed) = managed
        && let Err(error) = managed.serve(&control)
    {
        return Exit::failed(&format!("cannot start a thread: {error}"));
    }
    let exit = match Program::start(parts, notices, starting) {
        Ok(program) => supervise(program, &inbox, &control, is_managed),
        Err(exit) => exit,
    };
    closer.close();
    // It ends as soon as it is closed, whatever it was at.
    let _watched = watch.join();
    exit
}

/// Passes signals on; ends the process at the second one that asks for an end.
fn watch(mut signals: Signals, notices: &Sender<Notice>, starting: &Starting) {
    let mut ending = false;
    while let Some(signal) = signals.wait() {
        if matches!(signal, Signal::Terminate | Signal::Interrupt) {
            if ending {
                say("told to end again: ending at once");
                starting.abort();
                std::process::exit(SIGNAL_BASE + signal.number());
            }
            ending = true;
            // Who still starts reads no notices.
            starting.end();
        }
        if notices.send(Notice::Signal(signal)).is_err() {
            return;
        }
    }
}

/// Obeys until every cluster has ended. They end together: a program that serves half of what it
/// should is worse than one that somebody restarts.
fn supervise(
    mut program: Program,
    inbox: &Receiver<Notice>,
    control: &Control,
    is_managed: bool,
) -> Exit {
    let mut manager = Manager::of_process().corelanes(is_managed);
    let mut status = Status::of(&program);
    control.ready(program.remotes());
    manager.ready(&status.line());
    while program.is_serving() {
        match next(inbox, &mut manager) {
            Notice::Signal(Signal::Reload) => {
                manager.reloading();
                say(&program.reload());
                status = Status::of(&program);
                control.ready(program.remotes());
                manager.ready(&status.line());
                if program.is_done() {
                    manager.stopping();
                    program.drain();
                }
            }
            Notice::Signal(Signal::Reopen) => {
                say("SIGUSR1 ignored: there are no log files to open again");
            }
            Notice::Signal(Signal::Terminate | Signal::Interrupt) => {
                control.draining();
                manager.stopping();
                program.drain();
            }
            Notice::Happened(cluster, Event::Closed) => {
                if program.closed(cluster) {
                    control.closed();
                }
            }
            Notice::Happened(cluster, event) => {
                if status.heed(cluster, &event) {
                    manager.status(&status.line());
                }
            }
            Notice::Stopped(cluster) => {
                if program.ended(cluster) {
                    // The manager hears of it first, lest it take the end for a failure.
                    control.draining();
                    manager.stopping();
                    program.drain();
                }
            }
            Notice::Told(word) => {
                if program.told(word) {
                    control.draining();
                    manager.stopping();
                    program.drain();
                }
            }
        }
    }
    control.last_word();
    program.join()
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
            // It cannot be: the program holds a sender.
            Err(RecvTimeoutError::Disconnected) => return Notice::Signal(Signal::Terminate),
        }
    }
}
