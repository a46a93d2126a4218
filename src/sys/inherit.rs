//! The listening sockets that a service manager passes: `LISTEN_FDS`, `LISTEN_PID`,
//! `LISTEN_FDNAMES`, and the descriptors from 3 on.
//!
//! The variables stay in the environment, because taking them out is sound only while no other
//! thread looks at it. They do no harm there: a child has another pid than they name.

#![expect(unsafe_code, reason = "descriptors are taken over by number")]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// The most descriptors that may be passed.
const PASSED_MAX: usize = 8192;

const FDS: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";

/// Whether what was passed has been taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A listening stream socket that was passed to this process.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What it is called in messages.
    pub(crate) label: Label,
    /// The socket, closed on exec from now on.
    pub(crate) socket: OwnedFd,
}

/// Which descriptor: its number, and its name if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) number: RawFd,
    pub(crate) name: Option<String>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "descriptor {} ({})", self.number, name.escape_debug()),
            None => write!(f, "descriptor {}", self.number),
        }
    }
}

/// Why what was passed cannot be taken. `Display` is one line, with a hint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritError {
    /// A variable that says nothing.
    #[error(
        "cannot take the passed sockets: {variable} is `{value}`, not {wanted}; \
         hint: the service manager sets it, nobody else should"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Not one name per descriptor.
    #[error(
        "cannot take the passed sockets: LISTEN_FDNAMES has {names} names for {descriptors} \
         descriptors; hint: the service manager sets it, nobody else should"
    )]
    Names {
        /// How many names there are.
        names: usize,
        /// How many descriptors.
        descriptors: usize,
    },
    /// There is no such descriptor.
    #[error(
        "cannot take the passed sockets: {label} is not open; \
         hint: whatever starts this program must leave it open"
    )]
    NotOpen {
        /// Which.
        label: Label,
    },
    /// It is something else than a socket that accepts connections.
    #[error(
        "cannot take the passed sockets: {label} is {kind}, not a listening stream socket; \
         hint: in the socket unit use ListenStream= and Accept=no"
    )]
    NotListening {
        /// Which.
        label: Label,
        /// What it is.
        kind: &'static str,
    },
    /// Anything else.
    #[error("cannot take the passed sockets: {label}: {source}")]
    Io {
        /// Which.
        label: Label,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Takes the sockets that were passed to this process, in the order of their numbers.
///
/// Only the first call does, whatever comes of it: every later one yields nothing.
pub(crate) fn take() -> Result<Vec<Passed>, InheritError> {
    take_once(&TAKEN, |name| env::var_os(name), process::id())
}

/// Takes the sockets as [`take`] does, but for those that are none: why not is told instead.
#[cfg(feature = "cli")]
pub(crate) fn take_sound() -> (Vec<Passed>, Vec<InheritError>) {
    let labels = if TAKEN.swap(true, Ordering::SeqCst) {
        Ok(Vec::new())
    } else {
        labels(|name| env::var_os(name), process::id())
    };
    match labels {
        Ok(labels) => sort(labels.into_iter().map(adopt)),
        Err(error) => (Vec::new(), vec![error]),
    }
}

#[cfg(feature = "cli")]
fn sort(
    adopted: impl Iterator<Item = Result<Passed, InheritError>>,
) -> (Vec<Passed>, Vec<InheritError>) {
    let (mut sound, mut wrong) = (Vec::new(), Vec::new());
    for one in adopted {
        match one {
            Ok(passed) => sound.push(passed),
            Err(error) => wrong.push(error),
        }
    }
    (sound, wrong)
}

/// The variables by which something is passed, which is then not to be passed on.
#[cfg(feature = "cli")]
pub(crate) const VARIABLES: [&str; 3] = [FDS, PID, NAMES];

/// Has a descriptor stay open when this process becomes another program; returns its number.
#[cfg(feature = "cli")]
pub(crate) fn keep(descriptor: impl AsFd) -> io::Result<RawFd> {
    let descriptor = descriptor.as_fd();
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
    Ok(descriptor.as_raw_fd())
}

/// Takes a descriptor that the program which this process was before has [kept](keep) open under
/// this number. Each number may be taken once.
#[cfg(feature = "cli")]
pub(crate) fn take_kept(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: std::sync::Mutex<Vec<RawFd>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number < FIRST || taken.contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a plain system call; of a number that is not open the kernel says so.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    taken.push(number);
    // SAFETY: it is open, as the call above has shown, and has been since before this program
    // began: whoever it was before kept it for this, and nobody here has taken it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes the socket at which a manager asks, which was passed under this number.
///
/// Only the first call does.
pub(crate) fn take_control(number: RawFd) -> Result<OwnedFd, InheritError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let label = Label { number, name: Some("the control socket".to_owned()) };
    if number < FIRST || TAKEN.swap(true, Ordering::SeqCst) {
        return Err(InheritError::NotOpen { label });
    }
    adopt(label).map(|passed| passed.socket)
}

fn take_once(
    taken: &AtomicBool,
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
) -> Result<Vec<Passed>, InheritError> {
    if taken.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let labels = labels(variable, pid)?;
    // All of them, so that even after an error none is left open across an exec.
    let passed: Vec<_> = labels.into_iter().map(adopt).collect();
    passed.into_iter().collect()
}

/// What the variables say was passed to the process of this pid.
fn labels(
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
) -> Result<Vec<Label>, InheritError> {
    let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
    let (Some(to), Some(count)) = (text(PID), text(FDS)) else { return Ok(Vec::new()) };
    if number::<u32>(PID, &to, "the number of a process")? != pid {
        return Ok(Vec::new());
    }
    let wanted = "a number from 0 to 8192";
    let count: usize = number(FDS, &count, wanted)?;
    if count > PASSED_MAX {
        return Err(InheritError::Variable { variable: FDS, value: count.to_string(), wanted });
    }
    let names = match text(NAMES) {
        Some(names) if count > 0 => names.split(':').map(|name| Some(name.to_owned())).collect(),
        _ => vec![None; count],
    };
    if names.len() != count {
        return Err(InheritError::Names { names: names.len(), descriptors: count });
    }
    let label = |(number, name): (RawFd, Option<String>)| {
        let name = name.filter(|name| !name.is_empty());
        Label { number, name }
    };
    Ok((FIRST..).zip(names).map(label).collect())
}

fn number<N: std::str::FromStr>(
    variable: &'static str,
    value: &str,
    wanted: &'static str,
) -> Result<N, InheritError> {
    let wrong = || InheritError::Variable { variable, value: printable(value), wanted };
    // Rust's own parser takes a plus sign, too.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(wrong)
}

fn printable(value: &str) -> String {
    value.escape_debug().to_string()
}

/// Takes a descriptor over, if it is what it should be.
fn adopt(label: Label) -> Result<Passed, InheritError> {
    // SAFETY: a plain system call; of a number that is not open the kernel says so.
    let set = unsafe { libc::fcntl(label.number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if set == -1 {
        let source = io::Error::last_os_error();
        return Err(match Errno::from_io_error(&source) {
            Some(Errno::BADF) => InheritError::NotOpen { label },
            _ => InheritError::Io { label, source },
        });
    }
    // SAFETY: it is open, as the call above has shown. That it is ours alone is what LISTEN_PID
    // says: whoever started this process opened it for this process to take, and `take` does so
    // once.
    let socket = unsafe { OwnedFd::from_raw_fd(label.number) };
    match kind(&socket) {
        Ok(None) => Ok(Passed { label, socket }),
        Ok(Some(kind)) => Err(InheritError::NotListening { label, kind }),
        Err(source) => Err(InheritError::Io { label, source }),
    }
}

/// What a descriptor is, unless it is a listening stream socket.
fn kind(descriptor: impl AsFd) -> io::Result<Option<&'static str>> {
    let listens = match socket_acceptconn(&descriptor) {
        Err(Errno::NOTSOCK) => return Ok(Some("no socket")),
        listens => listens?,
    };
    Ok(match socket_type(&descriptor)? {
        SocketType::STREAM if listens => None,
        SocketType::STREAM => Some("a socket that does not listen"),
        SocketType::DGRAM => Some("a datagram socket"),
        _ => Some("a socket of another type"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::UnixListener;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    use super::*;

    /// No process of ours may have as many descriptors open.
    const NEVER_OPEN: RawFd = 1 << 30;

    fn label(number: RawFd, name: &str) -> Label {
        Label { number, name: Some(name).filter(|name| !name.is_empty()).map(str::to_owned) }
    }

    fn environment(set: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        let set = set.to_vec();
        move |name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into())
    }

    #[test]
    fn the_variables_say_what_was_passed_and_to_whom() {
        let cases: &[(&[_], &[Label])] = &[
            (&[], &[]),
            (&[(FDS, "2")], &[]),
            (&[(PID, "7")], &[]),
            (&[(FDS, "2"), (PID, "8")], &[]),
            // What is said to somebody else is not even read.
            (&[(FDS, "x"), (PID, "8"), (NAMES, "a:b:c")], &[]),
            (&[(FDS, "0"), (PID, "7")], &[]),
            (&[(FDS, "0"), (PID, "7"), (NAMES, "")], &[]),
            (&[(FDS, "2"), (PID, "7")], &[label(3, ""), label(4, "")]),
            (&[(FDS, "1"), (PID, "7"), (NAMES, "web")], &[label(3, "web")]),
            (&[(FDS, "1"), (PID, "7"), (NAMES, "")], &[label(3, "")]),
            (
                &[(FDS, "3"), (PID, "7"), (NAMES, "web::web")],
                &[label(3, "web"), label(4, ""), label(5, "web")],
            ),
        ];
        for (set, expected) in cases {
            assert_eq!(labels(environment(set), 7).unwrap(), *expected, "{set:?}");
        }
    }

    #[test]
    fn malformed_variables_are_errors_that_name_them() {
        let cases: &[(&[_], &str)] = &[
            (&[(FDS, "1"), (PID, "me")], "LISTEN_PID is `me`, not the number of a process"),
            (&[(FDS, "1"), (PID, "")], "LISTEN_PID is ``"),
            (&[(FDS, "1"), (PID, "+7")], "LISTEN_PID is `+7`"),
            (&[(FDS, "two"), (PID, "7")], "LISTEN_FDS is `two`, not a number from 0 to 8192"),
            (&[(FDS, "-1"), (PID, "7")], "LISTEN_FDS is `-1`"),
            (&[(FDS, "1\n"), (PID, "7")], "LISTEN_FDS is `1\\n`"),
            (&[(FDS, "8193"), (PID, "7")], "LISTEN_FDS is `8193`"),
            (&[(FDS, "1"), (PID, "7"), (NAMES, "a:b")], "has 2 names for 1 descriptors"),
            (&[(FDS, "2"), (PID, "7"), (NAMES, "a")], "has 1 names for 2 descriptors"),
        ];
        for (set, expected) in cases {
            let text = labels(environment(set), 7).unwrap_err().to_string();
            assert!(text.contains(expected) && text.contains("; hint: "), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_listening_socket_is_taken_and_closed_on_exec() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = [
            OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()),
            OwnedFd::from(UnixListener::bind(dir.path().join("s")).unwrap()),
        ];
        for socket in sockets {
            fcntl_setfd(&socket, FdFlags::empty()).unwrap();
            let label = label(socket.into_raw_fd(), "web");
            let passed = adopt(label.clone()).unwrap();
            assert_eq!(passed.label, label);
            assert!(fcntl_getfd(&passed.socket).unwrap().contains(FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_refused_by_number_and_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (descriptor, kind) in [
            (OwnedFd::from(stream), "a socket that does not listen"),
            (OwnedFd::from(datagram), "a datagram socket"),
            (OwnedFd::from(File::open("/dev/null").unwrap()), "no socket"),
        ] {
            let number = descriptor.into_raw_fd();
            let text = adopt(label(number, "web")).unwrap_err().to_string();
            let expected = format!("descriptor {number} (web) is {kind}, not a listening");
            assert!(text.contains(&expected), "{text}");
        }
        let text = adopt(label(NEVER_OPEN, "")).unwrap_err().to_string();
        assert!(text.contains(&format!("descriptor {NEVER_OPEN} is not open; hint")), "{text}");
    }

    #[test]
    fn a_second_take_yields_nothing() {
        let taken = AtomicBool::new(false);
        let broken = || environment(&[(FDS, "x"), (PID, "7")]);
        assert!(take_once(&taken, broken(), 7).is_err());
        assert!(take_once(&taken, broken(), 7).unwrap().is_empty());
    }
}
