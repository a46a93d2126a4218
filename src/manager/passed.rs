//! The sockets that a service manager has passed: what this manager gave it to keep for its
//! successor, and what socket units listen on for the apps.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::fstat;
use socket2::SockRef;

use super::socket::Sockets;
use crate::cluster::Address;
use crate::sys::inherit::{self, InheritError};
use crate::sys::notify;

/// What the name of a socket that is kept begins with; the app's number and the socket's follow.
const KEPT: &str = "corelane-";

/// What was passed, and what is being kept.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Of socket units: they go on to listen, whatever becomes of the apps.
    given: Vec<(Address, OwnedFd)>,
    /// The names of the sockets that the service manager keeps.
    kept: BTreeSet<String>,
}

impl Passed {
    /// Takes what was passed to this process: beside it, for each app, what was kept.
    pub(super) fn of_process() -> Result<(Self, BTreeMap<u32, Vec<OwnedFd>>), InheritError> {
        let mut passed = Self::default();
        let mut of_apps = BTreeMap::<u32, Vec<OwnedFd>>::new();
        for inherit::Passed { label, socket } in inherit::take()? {
            let name = label.name.clone().unwrap_or_default();
            if let Some(app) = app_of(&name) {
                passed.kept.insert(name);
                of_apps.entry(app).or_default().push(socket);
            } else if let Some(address) = address_of(&socket) {
                passed.given.push((address, socket));
            }
        }
        Ok((passed, of_apps))
    }

    /// Takes these as well, as they were [given](Self::given) to the program before.
    pub(super) fn take(&mut self, sockets: Vec<OwnedFd>) {
        let known = sockets.into_iter().filter_map(|socket| Some((address_of(&socket)?, socket)));
        self.given.extend(known);
    }

    /// What socket units listen on.
    pub(super) fn given(&self) -> &[(Address, OwnedFd)] {
        &self.given
    }

    /// Has the service manager keep the sockets of all apps, and forget those that are closed. A
    /// manager that keeps none does not mind.
    pub(super) fn keep(&mut self, apps: &BTreeMap<u32, Sockets>) -> io::Result<()> {
        if !notify::is_heard() {
            return Ok(());
        }
        let mut wanted = BTreeMap::<String, BorrowedFd<'_>>::new();
        for (app, sockets) in apps {
            for socket in sockets.descriptors() {
                wanted.insert(format!("{KEPT}{app}-{}", fstat(socket)?.st_ino), socket);
            }
        }
        for (name, socket) in &wanted {
            if !self.kept.contains(name) && notify::keep(name, socket.as_fd())? {
                self.kept.insert(name.clone());
            }
        }
        let closed: Vec<_> = self.kept.iter().filter(|it| !wanted.contains_key(*it)).collect();
        closed.into_iter().try_for_each(|name| notify::forget(name))?;
        self.kept.retain(|name| wanted.contains_key(name));
        Ok(())
    }
}

/// Whose socket is called so.
fn app_of(name: &str) -> Option<u32> {
    let (app, socket) = name.strip_prefix(KEPT)?.split_once('-')?;
    socket.parse::<u64>().ok().and(app.parse().ok())
}

/// Where a socket listens.
pub(super) fn address_of(socket: &OwnedFd) -> Option<Address> {
    let address = SockRef::from(socket).local_addr().ok()?;
    if let Some(address) = address.as_socket() {
        return Some(Address::Tcp(address));
    }
    Some(Address::Unix { path: address.as_pathname()?.to_owned(), mode: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_told_by_its_name() {
        for (name, app) in [
            ("corelane-7-123", Some(7)),
            ("corelane-7-", None),
            ("corelane--1", None),
            ("corelane.socket", None),
            ("corelane-web-1", None),
            ("", None),
        ] {
            assert_eq!(app_of(name), app, "{name}");
        }
    }
}
