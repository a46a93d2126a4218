//! The manager's hold on its home: its directories, its lock, and whether both are still there.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::daemon::DaemonError;
use super::upgrade::Kept;
use crate::control::Home;
use crate::sys::hearing::Hearing;
use crate::sys::stat::Stat;

/// The permissions of the home and of all directories in it.
const DIRECTORY: u32 = 0o700;

/// How long one that was killed may take to be seen to die, and to let go of what it had; how often
/// that is looked at.
const KILL_MAX: Duration = Duration::from_millis(300);
const DEATH_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A home that is this manager's, and nobody else's.
#[derive(Debug)]
pub(super) struct Claim {
    home: Home,
    /// Held as long as the manager lives.
    lock: File,
    /// Readable when something in the home was removed.
    watch: OwnedFd,
}

impl Claim {
    /// Makes the home what it must be, and takes it, with the socket at which programs are heard:
    /// whoever has that is this home's manager, even if the home was removed.
    pub(super) fn take(home: &Home, kept: &mut Kept) -> Result<(Self, Hearing), DaemonError> {
        let hearing = patiently(home, || match Hearing::at(&home.hearing()) {
            Ok(hearing) => Ok(Some(hearing)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(source) => Err(DaemonError::System { what: "hear the programs", source }),
        })?;
        make_home(home)?;
        let lock = match kept.take_lock() {
            Some(lock) => lock,
            None => lock(home)?,
        };
        let watch = watch(home)?;
        Ok((Self { home: home.clone(), lock, watch }, hearing))
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn lock(&self) -> &File {
        &self.lock
    }

    /// Whether the home, the lock or the socket in it has been removed, or is another's now.
    pub(super) fn is_lost(&self) -> bool {
        let mut events = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.watch, &mut events);
        while reader.next().is_ok() {}
        let number = |file: fs::Metadata| (file.dev(), file.ino());
        let own = self.lock.metadata().ok().map(number);
        let present = fs::metadata(self.home.lock()).ok().map(number);
        own != present || !self.home.socket().exists() || !self.home.run().exists()
    }

    /// Makes the home anew, and takes it again.
    pub(super) fn renew(&mut self) -> Result<(), DaemonError> {
        make_home(&self.home)?;
        let number = |file: fs::Metadata| (file.dev(), file.ino());
        let own = self.lock.metadata().ok().map(number);
        if fs::metadata(self.home.lock()).ok().map(number) != own {
            self.lock = lock(&self.home)?;
        }
        self.watch = watch(&self.home)?;
        // What is said of it was in the home as well, unless it goes elsewhere.
        if fstat(io::stderr()).is_ok_and(|log| log.st_nlink == 0) {
            let log = open_log(&self.home.manager_log());
            let _unsaid = log.map(|log| rustix::stdio::dup2_stderr(&log));
        }
        Ok(())
    }
}

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
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

fn lock(home: &Home) -> Result<File, DaemonError> {
    let path = home.lock();
    let failed = |source| DaemonError::Home { path: path.clone(), source };
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(&path).map_err(failed)?;
    patiently(home, || match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(())),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(failed(errno.into())),
    })?;
    // In the place of the one before, so that a full disk is no obstacle.
    let pid = format!("{}\n", std::process::id());
    file.write_all_at(pid.as_bytes(), 0).map_err(failed)?;
    file.set_len(pid.len() as u64).map_err(failed)?;
    Ok(file)
}

/// Takes what the manager before may still have: of one that dies, only a moment after its end.
fn patiently<T>(
    home: &Home,
    take: impl Fn() -> Result<Option<T>, DaemonError>,
) -> Result<T, DaemonError> {
    let begun = Instant::now();
    loop {
        if let Some(taken) = take()? {
            return Ok(taken);
        }
        let pid = fs::read_to_string(home.lock()).unwrap_or_default().trim().to_owned();
        let holder = pid.parse().ok().and_then(Stat::of);
        let patience = match holder {
            Some(holder) if !holder.zombie => KILL_MAX,
            _ => DEATH_MAX,
        };
        if begun.elapsed() >= patience {
            let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
            return Err(DaemonError::Running { home: home.path().display().to_string(), pid });
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn watch(home: &Home) -> Result<OwnedFd, DaemonError> {
    let failed =
        |errno: Errno| DaemonError::System { what: "watch the home", source: errno.into() };
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
    let what = WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&watch, home.path(), what).map_err(failed)?;
    Ok(watch)
}

/// Opens a file to write at its end, for this user alone.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIRECTORY).create(dir)?;
    }
    File::options().append(true).create(true).mode(0o600).open(path)
}
