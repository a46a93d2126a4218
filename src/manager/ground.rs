//! What an engine stands on: a home of its own, whose files outlive it, or nothing.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;

use super::claim::Claim;
use super::daemon::DaemonError;
use super::log;
use super::store::{Memory, Store};
use crate::control::{Home, LogFiles, Spec};

/// Where an engine keeps what it needs.
pub(super) enum Ground {
    /// A manager's: what it knows is written down there, and its apps write their logs there.
    Home { claim: Claim, store: Store },
    /// Nowhere: not a file is written, and the apps write where this process does.
    Bare {
        /// Told from all others, also of other containers with the same network.
        name: String,
    },
}

impl Ground {
    /// One without a home.
    pub(super) fn bare() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self::Bare { name: format!("corelane-run-{random:x}") }
    }

    /// The home, of a manager's.
    pub(super) fn home(&self) -> Option<&Home> {
        match self {
            Self::Home { claim, .. } => Some(claim.home()),
            Self::Bare { .. } => None,
        }
    }

    /// What the mark of each of its processes begins with.
    pub(super) fn mark(&self) -> String {
        match self {
            Self::Home { claim, .. } => claim.home().path().display().to_string(),
            Self::Bare { name } => name.clone(),
        }
    }

    /// Where a process is asked, also by a manager that comes after.
    pub(super) fn address(&self, id: u32, key: u32) -> io::Result<SocketAddr> {
        match self {
            Self::Home { claim, .. } => {
                SocketAddr::from_pathname(control_path(claim.home(), id, key))
            }
            Self::Bare { name } => SocketAddr::from_abstract_name(format!("{name}-{id}-{key}")),
        }
    }

    /// Nobody is asked there, so far or any more.
    pub(super) fn vacate(&self, id: u32, key: u32) -> io::Result<()> {
        let Some(home) = self.home() else { return Ok(()) };
        match fs::remove_file(control_path(home, id, key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where an app writes, if it is to files.
    pub(super) fn logs(&self, spec: &Spec) -> Option<LogFiles> {
        self.home().map(|home| log::files(spec, home))
    }

    /// Writes down what is to be remembered, if anywhere.
    pub(super) fn keep(&mut self, memory: Memory) -> Result<(), String> {
        let Self::Home { claim, store } = self else { return Ok(()) };
        let path = claim.home().state();
        let failed = |error| format!("the state cannot be written to {}: {error}", path.display());
        store.keep(memory).map_err(failed)
    }

    /// Sees that so much can be written down.
    pub(super) fn make_room(&self, bytes: usize) -> io::Result<()> {
        match self {
            Self::Home { store, .. } => store.make_room(bytes),
            Self::Bare { .. } => Ok(()),
        }
    }

    /// What is readable when something in the home was removed.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Home { claim, .. } => Some(claim.as_fd()),
            Self::Bare { .. } => None,
        }
    }

    /// Whether the home was removed, or is another's now.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Home { claim, .. } if claim.is_lost())
    }

    /// Makes the home anew, and takes it again; what was written down is gone.
    pub(super) fn renew(&mut self) -> Result<(), DaemonError> {
        match self {
            Self::Home { claim, store } => {
                store.distrust();
                claim.renew()
            }
            Self::Bare { .. } => Ok(()),
        }
    }
}

fn control_path(home: &Home, id: u32, key: u32) -> PathBuf {
    home.run().join(format!("{id}-{key}.sock"))
}
