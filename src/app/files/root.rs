//! The directory that files are served from.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};

use super::open::Patience;

/// A directory by its path: if that names another one, as after a deployment that moves a symbolic
/// link, so does this.
pub(super) struct Root {
    path: PathBuf,
    directory: RefCell<Option<Arc<OwnedFd>>>,
    /// When it was last seen to be what is at the path, in milliseconds.
    checked: Cell<u64>,
}

/// A look at the path, on its way to the thread where it is taken.
pub(super) struct Look {
    path: PathBuf,
    known: Option<Arc<OwnedFd>>,
}

impl Root {
    /// The directory at `path`; a relative one is below the working directory of this moment.
    pub(super) fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, directory: RefCell::new(None), checked: Cell::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory as it was when it was last looked at, if that was after `since`.
    pub(super) fn known(&self, since: u64) -> Option<Arc<OwnedFd>> {
        self.directory.borrow().clone().filter(|_| self.checked.get() > since)
    }

    pub(super) fn look(&self) -> Look {
        Look { path: self.path.clone(), known: self.directory.borrow().clone() }
    }

    /// Keeps what a look has found. Whether it is another directory than before.
    pub(super) fn keep(&self, found: &Arc<OwnedFd>, now: u64) -> bool {
        self.checked.set(now);
        let known = self.directory.replace(Some(Arc::clone(found)));
        known.is_some_and(|known| !Arc::ptr_eq(&known, found))
    }
}

impl Look {
    /// Looks which directory is at the path. If none can be opened, it is the one that was there:
    /// it is served on, as by any program that has it open.
    ///
    /// # Errors
    /// There has never been one; or, without patience, `WouldBlock`.
    pub(super) fn take(self, patience: Patience) -> io::Result<Arc<OwnedFd>> {
        match (open(&self.path, patience), self.known) {
            (Ok(present), Some(known)) if is_same(&known, &present)? => Ok(known),
            (Ok(present), _) => Ok(Arc::new(present)),
            (Err(error), Some(known)) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::warn!(%error, "the directory {} has gone", self.path.display());
                Ok(known)
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn open(path: &Path, patience: Patience) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = match patience {
        Patience::None => ResolveFlags::CACHED,
        Patience::Enough => ResolveFlags::empty(),
    };
    Ok(openat2(CWD, path, flags, Mode::empty(), resolve)?)
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let [one, other] = [fstat(one)?, fstat(other)?].map(|stat| (stat.st_dev, stat.st_ino));
    Ok(one == other)
}
