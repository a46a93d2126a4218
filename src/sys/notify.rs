//! What a service manager wants to hear, and how it is told: datagrams to `NOTIFY_SOCKET`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a manager may take to make room for a datagram.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// The most characters of a status that are sent.
const STATUS_CHARS_MAX: usize = 1000;

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// Something that a manager can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State<'text> {
    /// It serves: what waits for it may start.
    Ready,
    /// It reads its configuration again, and is ready only when it says so. Stamped with the
    /// present time, as `Type=notify-reload` asks for.
    Reloading,
    /// It ends.
    Stopping,
    /// It is alive; see [`watchdog`].
    Watchdog,
    /// What it does, in a line for people.
    Status(&'text str),
    /// This process is the one to watch.
    MainPid,
    /// It begins, and needs at most so much more time.
    #[cfg(feature = "cli")]
    Extend(Duration),
    /// Something that only some managers know.
    Other(&'text str),
}

impl State<'_> {
    fn write(self, message: &mut String) -> io::Result<()> {
        let line = match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros()?),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Watchdog => "WATCHDOG=1".to_owned(),
            Self::Status(text) => format!("STATUS={}", one_line(text)),
            Self::MainPid => format!("MAINPID={}", process::id()),
            #[cfg(feature = "cli")]
            Self::Extend(time) => format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()),
            Self::Other(text) => one_line(text),
        };
        message.push_str(&line);
        message.push('\n');
        Ok(())
    }
}

/// Tells the service manager, in one datagram; false if there is none that wants to hear.
pub(crate) fn notify(states: &[State<'_>]) -> io::Result<bool> {
    match socket() {
        Some(socket) => tell(&socket, states).map(|()| true),
        None => Ok(false),
    }
}

/// Whether there is a service manager that wants to hear.
#[cfg(feature = "cli")]
pub(crate) fn is_heard() -> bool {
    socket().is_some()
}

fn socket() -> Option<OsString> {
    env::var_os(SOCKET).filter(|socket| !socket.is_empty())
}

fn tell(socket: &OsStr, states: &[State<'_>]) -> io::Result<()> {
    let address = address(socket.as_bytes())?;
    let mut message = String::new();
    states.iter().try_for_each(|state| state.write(&mut message))?;
    // It is closed on exec, as all that the standard library opens.
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(SEND_TIMEOUT))?;
    datagram.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Has the service manager keep a descriptor, beyond the end of this process, under a name of
/// printable ASCII without a colon. It passes it to the next one, and keeps it as long as it is not
/// told to [give it up](give_up). One that it keeps already it keeps once.
///
/// It does not wait for a manager that is busy: then it is an error of the kind `WouldBlock`.
#[cfg(feature = "cli")]
pub(crate) fn keep(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // A socket that hangs up is nothing that the manager has to look for.
    tell_at_once(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n"), &[descriptor])
}

/// Has the service manager no longer keep what it keeps under this name.
///
/// It does not wait for a manager that is busy: then it is an error of the kind `WouldBlock`.
#[cfg(feature = "cli")]
pub(crate) fn give_up(name: &str) -> io::Result<()> {
    tell_at_once(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[])
}

/// Waits until the service manager has dealt with all that it was told, at most so long.
#[cfg(feature = "cli")]
pub(crate) fn await_dealt_with(time: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    tell_at_once("BARRIER=1", &[writer.as_fd()])?;
    // The manager closes its end when it comes to this message.
    drop(writer);
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&time))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(feature = "cli")]
fn tell_at_once(message: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let Some(socket) = socket() else { return Ok(()) };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.connect_addr(&address(socket.as_bytes())?)?;
    super::rights::send(&datagram, message.as_bytes(), descriptors).map(drop)
}

/// `/a/path`, or `@name` in the abstract namespace.
fn address(socket: &[u8]) -> io::Result<SocketAddr> {
    match socket {
        [b'/', ..] => SocketAddr::from_pathname(OsStr::from_bytes(socket)),
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
        _ => {
            let text = String::from_utf8_lossy(socket);
            let problem = format!("{SOCKET} is `{}`, not /path or @name", text.escape_debug());
            Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
        }
    }
}

/// Whatever it says: not more than a line, and not endless.
fn one_line(text: &str) -> String {
    let char = |char: char| if char.is_control() { ' ' } else { char };
    text.chars().take(STATUS_CHARS_MAX).map(char).collect()
}

fn monotonic_micros() -> io::Result<u128> {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic));
    Ok(now.map_err(io::Error::other)?.as_micros())
}

/// How often the manager wants a [`State::Watchdog`] at least, if this process is to send any.
///
/// It acts when it has heard none for so long: send it twice as often.
pub(crate) fn watchdog() -> io::Result<Option<Duration>> {
    watchdog_of(|name| env::var_os(name), process::id())
}

fn watchdog_of(
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
) -> io::Result<Option<Duration>> {
    let number = |name: &str| variable(name).map(|value| positive(name, &value)).transpose();
    let Some(micros) = number(WATCHDOG_USEC)? else { return Ok(None) };
    let meant = number(WATCHDOG_PID)?.is_none_or(|meant| meant == u64::from(pid));
    Ok(meant.then_some(Duration::from_micros(micros)))
}

fn positive(name: &str, value: &OsStr) -> io::Result<u64> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| {
        let text = value.to_string_lossy();
        let problem = format!("{name} is `{}`, not a positive number", text.escape_debug());
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn heard(receiver: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        receiver.set_nonblocking(true).unwrap();
        let length = receiver.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn states_arrive_together_at_a_path_or_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("corelane-test-{}", process::id());
        let abstractly =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let states = [State::Ready, State::Status("serves\nREADY=0 \u{1b}[1m"), State::MainPid];
        let expected = format!("READY=1\nSTATUS=serves READY=0  [1m\nMAINPID={}\n", process::id());
        for (socket, receiver) in
            [(path.into_os_string(), at_path), (format!("@{name}").into(), abstractly)]
        {
            tell(&socket, &states).unwrap();
            assert_eq!(heard(&receiver), expected, "{}", socket.display());
            tell(&socket, &[State::Stopping]).unwrap();
            assert_eq!(heard(&receiver), "STOPPING=1\n");
            tell(&socket, &[State::Watchdog]).unwrap();
            assert_eq!(heard(&receiver), "WATCHDOG=1\n");
        }
    }

    #[test]
    fn a_reload_is_stamped_with_the_present_time() {
        let before = monotonic_micros().unwrap();
        let mut message = String::new();
        State::Reloading.write(&mut message).unwrap();
        let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
        let stamp: u128 = micros.parse().unwrap();
        assert!((before..=monotonic_micros().unwrap()).contains(&stamp), "{message}");
    }

    #[test]
    fn a_status_is_not_endless() {
        let mut message = String::new();
        State::Status(&"ä".repeat(9999)).write(&mut message).unwrap();
        assert_eq!(message.chars().count(), "STATUS=\n".len() + STATUS_CHARS_MAX);
    }

    #[test]
    fn without_a_socket_nobody_is_told() {
        // The tests are not run by a manager that would take it for the program.
        assert!(env::var_os(SOCKET).is_some() || !notify(&[State::Status("test")]).unwrap());
    }

    #[test]
    fn an_address_of_another_kind_or_a_dead_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for socket in ["@", "notify", "vsock:2:1234"] {
            let error = tell(socket.as_ref(), &[State::Ready]).unwrap_err().to_string();
            assert!(error.contains(&format!("NOTIFY_SOCKET is `{socket}`, not /path")), "{error}");
        }
        let nowhere = dir.path().join("nowhere");
        let error = tell(nowhere.as_os_str(), &[State::Ready]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let watchdog = |usec: Option<&str>, pid: Option<&str>| {
            let variable = |name: &str| match name {
                WATCHDOG_USEC => usec.map(OsString::from),
                WATCHDOG_PID => pid.map(OsString::from),
                _ => None,
            };
            watchdog_of(variable, 7)
        };
        let second = Some(Duration::from_secs(1));
        for (usec, pid, expected) in [
            (None, None, None),
            (None, Some("7"), None),
            (Some("1000000"), None, second),
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), Some("8"), None),
        ] {
            assert_eq!(watchdog(usec, pid).unwrap(), expected, "{usec:?} {pid:?}");
        }
        for (usec, pid, named) in [
            (Some("0"), None, "WATCHDOG_USEC is `0`"),
            (Some("1s"), None, "WATCHDOG_USEC is `1s`"),
            (Some("1"), Some("me"), "WATCHDOG_PID is `me`"),
        ] {
            let error = watchdog(usec, pid).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
