//! The manager's process: its API, its thread, and what it becomes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::api::{self, Desk, Question};
use super::claim::Claim;
use super::engine::{End, Engine, Start};
use super::ground::Ground;
use super::passed::Passed;
use super::store::{Store, StoreError};
use super::upgrade::{self, Kept};
use crate::cluster::{ClusterHandle, StartError};
use crate::control::{Home, Verb};
use crate::sys::limits::Limits;
use crate::sys::signal::{self, Signal, Signals};
use crate::sys::{heap, membarrier};

/// Why there is no manager. `Display` is one line, with a hint where there is one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// There is one already.
    #[error("a manager runs already in {home}, pid {pid}")]
    Running {
        /// Its home.
        home: String,
        /// Its pid.
        pid: String,
    },
    /// The home is of no use.
    #[error(
        "the manager cannot keep its files in {}: {source}; hint: set CORELANE_HOME",
        path.display()
    )]
    Home {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a manager before has left cannot be read.
    #[error("{0}")]
    Store(String),
    /// Its API cannot be served.
    #[error(transparent)]
    Serve(#[from] StartError),
    /// Anything else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl From<StoreError> for DaemonError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Runs a manager until it is told to end. With `resurrect` it starts what `kill` has stopped.
pub(crate) fn daemon(home: &Home, corelane: PathBuf, resurrect: bool) -> Result<(), DaemonError> {
    let mut kept = Kept::of_process();
    let (claim, hearing) = Claim::take(home, &mut kept)?;
    Limits::raise();
    let system = |what| move |source| DaemonError::System { what, source };
    signal::outlive_full_files().map_err(system("listen for signals"))?;
    heap::keep_memory();
    let _slower = membarrier::register();
    let (store, memory, warning) = Store::open(home)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let bell: OwnedFd = bell.map_err(|errno| system("make an eventfd")(errno.into()))?;
    let ringing = bell.try_clone().map_err(system("make an eventfd"))?;
    let (sender, inbox) = mpsc::channel();
    let desk = Desk::new(sender, ringing);
    let program = corelane.clone();
    let (passed, wrong) = Passed::take(&mut kept);
    for error in wrong {
        tracing::warn!("{error}");
    }
    let start = Start {
        ground: Ground::Home { claim, store },
        corelane,
        hearing,
        inbox,
        bell,
        desk: desk.clone(),
        passed,
        witness: None,
        orphans: None,
    };
    let mut engine = Engine::new(start).map_err(system("read the CPUs to use"))?;
    engine.recall(memory, kept);
    obey_signals(desk.clone()).map_err(system("listen for signals"))?;
    if resurrect {
        desk.leave(Question::Verb(Verb::Resurrect));
    }
    let mut server = Some(api::serve(home, desk.clone()).spawn()?);
    tracing::info!("manager {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let end = loop {
        let end = engine.run();
        if end != End::Homeless {
            break end;
        }
        // Whoever still waits here has its answer cut: the socket is nobody's any more.
        drop(server.take().map(ClusterHandle::shutdown));
        match engine.settle_down(|| api::serve(home, desk.clone()).spawn()) {
            Ok(again) => server = again,
            Err(error) => {
                tracing::error!("the manager ends, the apps run on: {error}");
                break End::Left;
            }
        }
    };
    engine.close();
    tracing::info!("the manager ends: {end:?}");
    // Whoever waits for an answer gets it.
    let _stopped = server.map(ClusterHandle::shutdown);
    if end != End::Upgrade {
        engine.leave();
        return Ok(());
    }
    let kept = engine.into_kept().map_err(system("keep the sockets open"))?;
    Err(system("become the new version")(upgrade::exec(&program, home, &kept)))
}

/// Whether a manager could go on with what is in this home.
pub(crate) fn check_state(home: &Home) -> Result<(), DaemonError> {
    Store::open(home)?;
    Ok(())
}

/// Ends when it is told to by a signal; the apps run on.
fn obey_signals(desk: Desk) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let obey = move || {
        while let Some(signal) = signals.wait() {
            match signal {
                Signal::Terminate | Signal::Interrupt => drop(desk.leave(Question::Leave)),
                Signal::Reload | Signal::Reopen => {
                    tracing::info!("{signal:?} ignored: `corelane start FILE` changes the apps");
                }
            }
        }
    };
    thread::Builder::new().name("corelane-signal".to_owned()).spawn(obey).map(drop)
}
