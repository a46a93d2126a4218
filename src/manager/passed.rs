//! The listening sockets that a service manager, such as systemd, passes to the manager and keeps
//! for the next one.
//!
//! There are two kinds, and their names tell them apart. Those of **socket units** are the service
//! manager's: it holds them whatever happens, and an app that listens there is given them. Those
//! that a manager had bound and had **kept** come back after its death, and are kept as long as
//! the manager holds them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_cookie;
use socket2::SockRef;

use super::upgrade::Kept;
use crate::cluster::Address;
use crate::sys::inherit::{self, InheritError, Label};
use crate::sys::notify;

/// How long a service manager may take to close what it is to give up, before an address is bound
/// anew.
const GIVE_UP_MAX: Duration = Duration::from_secs(1);
/// How soon a service manager that was busy is told again.
const AGAIN: Duration = Duration::from_millis(20);

/// What was passed, and what is kept.
#[derive(Debug, Default)]
pub(super) struct Passed {
    units: Vec<Unit>,
    /// What came back and has not been asked for yet.
    returned: Vec<(String, OwnedFd)>,
    /// The names of what the service manager keeps.
    kept: BTreeSet<String>,
    /// It may not have closed yet what it has been told to give up.
    gives_up: bool,
    /// It was busy, and is to be told again then.
    again: Option<Instant>,
    /// There is one that may keep something.
    heard: bool,
    /// It cannot, and why has been said.
    failed: bool,
}

/// A socket of a socket unit.
#[derive(Debug)]
struct Unit {
    label: Label,
    /// None if it is of a kind that no app asks for.
    address: Option<Address>,
    socket: OwnedFd,
}

impl Passed {
    /// What was passed to this process, and what is wrong with the rest.
    pub(super) fn take(kept: &mut Kept) -> (Self, Vec<InheritError>) {
        let mut passed = Self { heard: notify::is_heard(), ..Self::default() };
        for (label, socket) in kept.take_units() {
            passed.add_unit(label, socket);
        }
        let (sound, wrong) = inherit::take_sound();
        for inherit::Passed { label, socket } in sound {
            let name = label.name.clone().filter(|name| is_name_of(name, &socket));
            match name.zip(address_of(&socket)) {
                Some((name, address)) => {
                    passed.kept.insert(name);
                    passed.returned.push((address, socket));
                }
                None => passed.add_unit(label, socket),
            }
        }
        (passed, wrong)
    }

    fn add_unit(&mut self, label: Label, socket: OwnedFd) {
        let address = address_of(&socket).and_then(|text| text.parse().ok());
        self.units.push(Unit { label, address, socket });
    }

    /// Those of socket units, to be kept open for the program that this one becomes.
    pub(super) fn units(&self) -> impl Iterator<Item = (&Label, BorrowedFd<'_>)> {
        self.units.iter().map(|unit| (&unit.label, unit.socket.as_fd()))
    }

    /// Descriptors of the sockets of socket units at an address.
    pub(super) fn at(&self, address: &Address) -> io::Result<Vec<(Address, OwnedFd)>> {
        let is = |unit: &&Unit| unit.address.as_ref().is_some_and(|it| it.is_at(address));
        let units = self.units.iter().filter(is);
        units.map(|unit| Ok((address.clone(), unit.socket.try_clone()?))).collect()
    }

    /// Takes what has come back for one of these addresses.
    pub(super) fn take_returned(&mut self, listens: &[String]) -> Vec<(String, OwnedFd)> {
        let listens: Vec<Address> = listens.iter().filter_map(|text| text.parse().ok()).collect();
        let is = |text: &String| {
            text.parse().is_ok_and(|address| listens.iter().any(|it| it.is_at(&address)))
        };
        self.returned.extract_if(.., |(address, _)| is(address)).collect()
    }

    /// Closes what nobody has asked for.
    pub(super) fn drop_returned(&mut self) {
        self.returned.clear();
    }

    /// What the sockets of units are called at which none of these addresses is, and where they
    /// are.
    pub(super) fn unclaimed(&self, claimed: &[Address]) -> Option<String> {
        let is = |unit: &&Unit| {
            !claimed.iter().any(|other| unit.address.as_ref().is_some_and(|it| it.is_at(other)))
        };
        let word = |unit: &Unit| match &unit.address {
            Some(address) => format!("{address}, which is {}", unit.label),
            None => format!("the address of {}", unit.label),
        };
        let unclaimed: Vec<_> = self.units.iter().filter(is).map(word).collect();
        (!unclaimed.is_empty()).then(|| {
            format!(
                "no app listens at {}: whoever connects there waits in vain; \
                 hint: start an app with that address in `listen`, or stop the socket unit",
                unclaimed.join(", and none at ")
            )
        })
    }

    /// Has exactly these sockets kept, each with the app that it is for, but for those of socket
    /// units.
    pub(super) fn keep<'a>(
        &mut self,
        sockets: impl Iterator<Item = (&'a str, BorrowedFd<'a>)>,
        now: Instant,
    ) {
        self.again = None;
        if !self.heard {
            return;
        }
        let units: Vec<_> = self.units.iter().filter_map(|unit| cookie(&unit.socket)).collect();
        let named = sockets.filter_map(|(app, socket)| {
            let cookie = cookie(socket).filter(|cookie| !units.contains(cookie))?;
            Some((name(app, cookie), socket))
        });
        let wanted: Vec<_> = named.collect();
        if let Err(error) = self.reconcile(&wanted) {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.again = Some(now + AGAIN);
            } else if !std::mem::replace(&mut self.failed, true) {
                tracing::warn!("the service manager cannot keep the listening sockets: {error}");
            }
        }
    }

    /// What is no longer wanted goes first: what it takes the place of may be the same socket.
    fn reconcile(&mut self, wanted: &[(String, BorrowedFd<'_>)]) -> io::Result<()> {
        let over = |name: &&String| !wanted.iter().any(|(other, _)| other == *name);
        let over: Vec<_> = self.kept.iter().filter(over).cloned().collect();
        for name in over {
            notify::give_up(&name)?;
            self.kept.remove(&name);
            self.gives_up = true;
        }
        for (name, socket) in wanted {
            if !self.kept.contains(name) {
                notify::keep(name, *socket)?;
                self.kept.insert(name.clone());
            }
        }
        Ok(())
    }

    /// When the service manager is to be told again what it was too busy to hear.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Waits, before an address is bound, until nothing listens there that was given up.
    pub(super) fn clear_the_way(&mut self) {
        if std::mem::take(&mut self.gives_up)
            && let Err(error) = notify::await_dealt_with(GIVE_UP_MAX)
        {
            tracing::warn!("the service manager may still hold closed sockets: {error}");
        }
    }
}

/// What a socket is kept as. The cookie is the kernel's name for the socket, the same in every
/// process and never used again.
fn name(app: &str, cookie: u64) -> String {
    format!("{app}@{cookie:x}")
}

/// Whether a manager has given a socket this name.
fn is_name_of(text: &str, socket: &OwnedFd) -> bool {
    let app = text.rsplit_once('@').map(|(app, _)| app);
    app.zip(cookie(socket)).is_some_and(|(app, cookie)| text == name(app, cookie))
}

/// What tells a socket from any other that there is or was.
pub(super) fn cookie(socket: impl AsFd) -> Option<u64> {
    socket_cookie(socket).ok()
}

/// Where a socket listens, as it is written.
pub(super) fn address_of(socket: &OwnedFd) -> Option<String> {
    let address = SockRef::from(socket).local_addr().ok()?;
    let tcp = address.as_socket().map(|address| address.to_string());
    tcp.or_else(|| Some(format!("unix:{}", address.as_pathname()?.display())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tcp() -> (OwnedFd, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener.into(), address)
    }

    fn label(number: i32, name: &str) -> Label {
        Label { number, name: Some(name.to_owned()) }
    }

    #[test]
    fn a_name_is_of_one_socket_only() {
        let ((one, _), (two, _)) = (tcp(), tcp());
        let text = name("web", cookie(&one).unwrap());
        assert!(is_name_of(&text, &one) && is_name_of(&text, &one.try_clone().unwrap()));
        assert!(!is_name_of(&text, &two));
        for other in ["web.socket", "web", "", "@", "web@", "web@zz", "connection"] {
            assert!(!is_name_of(other, &one), "{other}");
        }
        let valid = |byte: u8| (b' '..127).contains(&byte) && byte != b':';
        let longest = name(&"x".repeat(64), u64::MAX);
        assert!(longest.bytes().all(valid) && longest.len() <= 255);
    }

    #[test]
    fn sockets_of_units_are_for_those_who_listen_there() {
        let mut passed = Passed::default();
        let (tcp, address) = tcp();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        passed.add_unit(label(3, "web.socket"), tcp);
        passed.add_unit(label(4, "web.socket"), UnixListener::bind(&path).unwrap().into());
        let unix = format!("unix:{}", path.display());
        let parse = |text: &str| text.parse::<Address>().unwrap();
        for (text, found) in [
            (address.as_str(), 1),
            (&unix, 1),
            (&format!("{unix}?mode=0600"), 1),
            ("127.0.0.1:1", 0),
        ] {
            assert_eq!(passed.at(&parse(text)).unwrap().len(), found, "{text}");
        }
        assert_eq!(passed.unclaimed(&[parse(&address), parse(&unix)]), None);
        let problem = passed.unclaimed(&[parse(&unix)]).unwrap();
        let expected = format!("no app listens at {address}, which is descriptor 3 (web.socket): ");
        assert!(problem.starts_with(&expected), "{problem}");
        let problem = passed.unclaimed(&[]).unwrap();
        assert!(problem.contains(&format!("and none at {unix}, which is descriptor 4")));
    }

    #[test]
    fn what_came_back_is_had_once_and_by_its_address() {
        let mut passed = Passed::default();
        let (tcp, address) = tcp();
        passed.returned.push((address.clone(), tcp));
        assert_eq!(passed.take_returned(&["127.0.0.1:1".to_owned()]).len(), 0);
        assert_eq!(passed.take_returned(std::slice::from_ref(&address)).len(), 1);
        assert_eq!(passed.take_returned(&[address]).len(), 0);
    }
}
