//! The manager's process: its home, its lock, its API, its thread.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::api::{self, Desk, Question};
use super::engine::{End, Engine, Start};
use super::store::{Store, StoreError};
use super::upgrade::{self, Kept};
use crate::cluster::StartError;
use crate::control::{Home, Verb};
use crate::sys::hearing::Hearing;
use crate::sys::limits::Limits;
use crate::sys::notify::{self, State};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{heap, membarrier};

/// The permissions of the home and of all directories in it.
const DIRECTORY: u32 = 0o700;

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
    make_home(home)?;
    let mut kept = Kept::of_process();
    let lock = lock(home, &mut kept)?;
    Limits::raise();
    heap::keep_memory();
    let _slower = membarrier::register();
    let system = |what| move |source| DaemonError::System { what, source };
    let (store, memory, warning) = Store::open(home)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let hearing = Hearing::at(&hearing_name(home)?).map_err(system("hear the programs"))?;
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let bell: OwnedFd = bell.map_err(|errno| system("make an eventfd")(errno.into()))?;
    let ringing = bell.try_clone().map_err(system("make an eventfd"))?;
    let (sender, inbox) = mpsc::channel();
    let desk = Desk::new(sender, ringing);
    let program = corelane.clone();
    let start =
        Start { home: home.clone(), corelane, hearing, inbox, bell, desk: desk.clone(), store };
    let mut engine = Engine::new(start).map_err(system("read the CPUs to use"))?;
    engine.recall(memory, kept);
    obey_signals(desk.clone()).map_err(system("listen for signals"))?;
    if resurrect {
        desk.leave(Question::Verb(Verb::Resurrect));
    }
    let server = api::serve(home, desk).spawn()?;
    tracing::info!("manager {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    // One that cannot be told waits in vain, and says so itself.
    let _untold = notify::notify(&[State::Ready, State::MainPid]);
    let end = engine.run();
    engine.close();
    let _untold = notify::notify(&[State::Stopping]);
    tracing::info!("the manager ends: {end:?}");
    // Whoever waits for an answer gets it.
    let _stopped = server.shutdown();
    if end != End::Upgrade {
        return Ok(());
    }
    let mut kept = engine.into_kept().map_err(system("keep the sockets open"))?;
    kept.keep_lock(&lock).map_err(system("keep the lock"))?;
    Err(system("become the new version")(upgrade::exec(&program, home, &kept)))
}

/// Whether a manager could go on with what is in this home.
pub(crate) fn check_state(home: &Home) -> Result<(), DaemonError> {
    Store::open(home)?;
    Ok(())
}

fn make_home(home: &Home) -> Result<(), DaemonError> {
    for path in [home.path().to_owned(), home.run(), home.logs()] {
        let failed = |source| DaemonError::Home { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(DIRECTORY).create(&path).map_err(failed)?;
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
        if mode != DIRECTORY {
            fs::set_permissions(&path, Permissions::from_mode(DIRECTORY)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Held as long as the manager lives, and by nobody else.
fn lock(home: &Home, kept: &mut Kept) -> Result<File, DaemonError> {
    if let Some(lock) = kept.take_lock() {
        return Ok(lock);
    }
    let path = home.lock();
    let failed = |source| DaemonError::Home { path: path.clone(), source };
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = file.open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            let (home, pid) = (home.path().display().to_string(), pid.trim().to_owned());
            return Err(DaemonError::Running { home, pid });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(failed)?;
    Ok(file)
}

/// The same for every manager of a home, and another's for any other.
fn hearing_name(home: &Home) -> Result<String, DaemonError> {
    let path = home.path();
    let about = fs::metadata(path);
    let about = about.map_err(|source| DaemonError::Home { path: path.to_owned(), source })?;
    Ok(format!("corelane-{:x}-{:x}", about.dev(), about.ino()))
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

/// Opens a file to write at its end, for this user alone.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIRECTORY).create(dir)?;
    }
    File::options().append(true).create(true).mode(0o600).open(path)
}
