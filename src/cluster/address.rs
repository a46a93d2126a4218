//! Where a cluster listens.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path that `sockaddr_un` holds, with its closing zero.
const UNIX_PATH_MAX: usize = 107;

/// An address to listen on.
///
/// ```
/// use corelane::Address;
///
/// let tcp: Address = "127.0.0.1:3000".parse()?;
/// let unix: Address = "unix:/run/my-app.sock?mode=0660".parse()?;
/// assert_eq!(unix.to_string(), "unix:/run/my-app.sock?mode=0660");
/// # Ok::<(), corelane::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `127.0.0.1:3000`, `[::1]:3000`, `localhost:3000` (which is 127.0.0.1). Port 0 takes a free
    /// one.
    Tcp(SocketAddr),
    /// `unix:/run/my-app.sock`, with `?mode=0660` for its permissions (else the umask decides).
    Unix {
        /// An absolute path.
        path: PathBuf,
        /// Permission bits, such as 0o660.
        mode: Option<u32>,
    },
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad address `{text}`: {problem}")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(rest) => unix(rest),
            None => tcp(text),
        };
        parsed.map_err(|problem| AddressError { text: text.to_owned(), problem })
    }
}

fn tcp(text: &str) -> Result<Address, &'static str> {
    if let Ok(address) = text.parse() {
        return Ok(Address::Tcp(address));
    }
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing, as in 127.0.0.1:3000")?;
    let port = port.parse().map_err(|_| "the port must be a number from 0 to 65535")?;
    match host {
        "localhost" => Ok(Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))),
        "" | "*" => Err("name the interface: 0.0.0.0 for all of IPv4, [::] for all of IPv6"),
        _ if host.contains(':') => Err("an IPv6 address needs brackets, as in [::1]:3000"),
        _ => Err("the host must be an IP address or localhost"),
    }
}

fn unix(rest: &str) -> Result<Address, &'static str> {
    let (path, mode) = match rest.split_once("?mode=") {
        Some((path, mode)) => {
            let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o777);
            (path, Some(bits.ok_or("the mode must be octal, as in ?mode=0660")?))
        }
        None => (rest, None),
    };
    if !path.starts_with('/') {
        return Err("the path of a Unix socket must be absolute, as in unix:/run/my-app.sock");
    }
    if path.len() > UNIX_PATH_MAX {
        return Err("the path of a Unix socket must be at most 107 bytes long");
    }
    Ok(Address::Unix { path: PathBuf::from(path), mode })
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

/// So that a function may take whatever can become an [`Address`], also what always can.
impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl Address {
    /// Whether it is the same place, whatever the permissions there.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix { path, .. }, Self::Unix { path: other, .. }) => path == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, mode: None } => write!(f, "unix:{}", path.display()),
            Self::Unix { path, mode: Some(mode) } => {
                write!(f, "unix:{}?mode={mode:04o}", path.display())
            }
        }
    }
}
