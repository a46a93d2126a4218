//! What a service manager passed to the process, and which cluster gets what of it.
//!
//! A socket goes to who lists its address, exactly as `getsockname` says it. Between several
//! clusters with the same address the sockets' names decide.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use socket2::{SockAddr, SockRef};

use super::error::StartError;
use super::listen::{Group, Listeners};
use super::{Address, BindError, Cluster};
use crate::sys::inherit::{self, Label, Passed};

/// Where the sockets of a cluster come from.
#[derive(Debug, Default)]
pub(super) enum Source {
    /// It binds them.
    #[default]
    Own,
    /// Of what was passed to the process, if anything was.
    Process,
    /// These, which were passed and allotted to it.
    Allotted(Vec<Group>),
}

impl Source {
    /// The sockets of all addresses; those that are bound have `sockets` for each.
    pub(super) fn listeners(
        self,
        name: &str,
        addresses: &[Address],
        sockets: usize,
    ) -> Result<Listeners, StartError> {
        let groups = match self {
            Self::Own => None,
            Self::Process => with_process(|inherited| inherited.take(addresses, name))?,
            Self::Allotted(groups) => Some(groups),
        };
        match groups {
            Some(groups) => Ok(Listeners::inherited(groups)),
            None => Ok(Listeners::bind(addresses, sockets)?),
        }
    }
}

/// Gives each cluster its own of what was passed to the process, before any of them starts.
///
/// # Errors
/// A cluster lists an address that was not passed, or a socket is left over. The latter is an
/// error, too: its clients would connect, and wait for an answer that nobody gives.
pub(crate) fn allot(clusters: &mut [Cluster]) -> Result<(), StartError> {
    with_process(|inherited| {
        for cluster in clusters {
            let (name, sets) = cluster.sockets();
            for (addresses, source) in sets {
                if let Some(groups) = inherited.take(addresses, name)? {
                    *source = Source::Allotted(groups);
                }
            }
        }
        inherited.nothing_left()
    })
}

/// Does something with what was passed to this process; all its clusters share it.
fn with_process<T>(
    look: impl FnOnce(&mut Inherited) -> Result<T, StartError>,
) -> Result<T, StartError> {
    static PROCESS: OnceLock<Result<Mutex<Inherited>, String>> = OnceLock::new();
    let taken = || {
        let passed = inherit::take().map_err(|error| error.to_string())?;
        Ok(Mutex::new(Inherited::new(passed)))
    };
    match PROCESS.get_or_init(taken) {
        // Whatever panicked within `look` has left the list whole.
        Ok(inherited) => look(&mut inherited.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(problem) => Err(StartError::Inherit { problem: problem.clone() }),
    }
}

/// The sockets that were passed, and which of them are still to be had.
#[derive(Debug, Default)]
struct Inherited {
    offers: Vec<Offer>,
}

impl Inherited {
    fn new(passed: Vec<Passed>) -> Self {
        Self { offers: passed.into_iter().map(Offer::new).collect() }
    }

    /// The sockets of all these addresses, or none of them; `None` if none were ever passed.
    fn take(
        &mut self,
        addresses: &[Address],
        name: &str,
    ) -> Result<Option<Vec<Group>>, StartError> {
        if self.offers.is_empty() {
            return Ok(None);
        }
        let mut planned: Vec<Vec<usize>> = Vec::new();
        for address in addresses {
            let found = self.matching(address, name, &planned.concat());
            if found.is_empty() {
                return Err(self.refuse(address).into());
            }
            planned.push(found);
        }
        let groups = addresses.iter().zip(planned).map(|(address, indices)| {
            let sockets = indices.into_iter().filter_map(|index| self.offers[index].socket.take());
            let group = Group::inherited(address.clone(), sockets.collect());
            group.map_err(|source| BindError::Io { address: address.clone(), source })
        });
        Ok(Some(groups.collect::<Result<_, _>>()?))
    }

    /// The free sockets of an address that are not spoken for: those that have the cluster's name,
    /// if any has it, else all of them.
    fn matching(&self, address: &Address, name: &str, spoken_for: &[usize]) -> Vec<usize> {
        let free = |index: &usize| {
            let offer = &self.offers[*index];
            offer.socket.is_some() && !spoken_for.contains(index) && offer.place.is(address)
        };
        let mut found: Vec<_> = (0..self.offers.len()).filter(free).collect();
        let named = |index: &usize| self.offers[*index].label.name.as_deref() == Some(name);
        if found.iter().any(named) {
            found.retain(named);
        }
        found
    }

    fn refuse(&self, address: &Address) -> BindError {
        let (address, passed) = (address.clone(), list(&self.offers));
        match address {
            Address::Tcp(tcp) if tcp.port() == 0 => BindError::PassedNoPort { address, passed },
            _ => BindError::NotPassed { address, passed },
        }
    }

    fn nothing_left(&self) -> Result<(), StartError> {
        let left = self.offers.iter().filter(|offer| offer.socket.is_some());
        let sockets = list(left);
        if sockets.is_empty() { Ok(()) } else { Err(StartError::Unasked { sockets }) }
    }
}

/// A socket that was passed.
#[derive(Debug)]
struct Offer {
    label: Label,
    place: Place,
    /// `None` once somebody has it.
    socket: Option<OwnedFd>,
}

impl Offer {
    fn new(Passed { label, socket }: Passed) -> Self {
        let place = Place::of(SockRef::from(&socket).local_addr());
        Self { label, place, socket: Some(socket) }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, place, socket } = self;
        let taken = if socket.is_none() { ", taken" } else { "" };
        write!(f, "{place} ({label}{taken})")
    }
}

fn list<'offers>(offers: impl IntoIterator<Item = &'offers Offer>) -> String {
    offers.into_iter().map(Offer::to_string).collect::<Vec<_>>().join(", ")
}

/// Where a socket listens.
#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Where no [`Address`] leads.
    Elsewhere(String),
}

impl Place {
    fn of(address: io::Result<SockAddr>) -> Self {
        let address = match address {
            Ok(address) => address,
            Err(error) => return Self::Elsewhere(format!("an unknown address: {error}")),
        };
        if let Some(tcp) = address.as_socket() {
            Self::Tcp(tcp)
        } else if let Some(path) = address.as_pathname() {
            Self::Unix(path.to_owned())
        } else if let Some(name) = address.as_abstract_namespace() {
            Self::Elsewhere(format!("unix:@{}", name.escape_ascii()))
        } else {
            Self::Elsewhere(format!("an address of family {}", address.family()))
        }
    }

    fn is(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::Tcp(SocketAddr::V6(own)), Address::Tcp(SocketAddr::V6(asked))) => {
                let key = |it: &std::net::SocketAddrV6| (*it.ip(), it.port(), it.scope_id());
                key(own) == key(asked)
            }
            (Self::Tcp(own), Address::Tcp(asked)) => own == asked,
            (Self::Unix(own), Address::Unix { path, .. }) => own == path,
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Elsewhere(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests;
