//! What a user names as the server: `http://host:port/path?query`, or a Unix socket.

use std::fmt;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::{Authority, InvalidUri, PathAndQuery};

use super::Target;

/// The longest path that `sockaddr_un` holds, with its closing zero.
const UNIX_PATH_MAX: usize = 107;
const HTTP_PORT: u16 = 80;

/// A server, and what is asked for there. As text it is normalised: `http://127.0.0.1:3000/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    server: Server,
    /// What the request line asks for: a path, and a query if there is one.
    path: PathAndQuery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    /// Its name or address, as it is written, and its port.
    Tcp { host: String, port: u16 },
    /// The path of its socket.
    Unix(String),
}

/// Why a text names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad URL `{text}`: {problem}\nhint: {hint}")]
pub(crate) struct UrlError {
    text: String,
    problem: String,
    hint: &'static str,
}

type Problem = (String, &'static str);

const FORM: &str = "write http://127.0.0.1:3000/path, or unix:/run/a.sock:/path";

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(rest) => unix(rest),
            None => tcp(text),
        };
        parsed.map_err(|(problem, hint)| UrlError { text: text.to_owned(), problem, hint })
    }
}

fn tcp(text: &str) -> Result<Url, Problem> {
    let rest = match scheme(text) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            let hint = "name the address at which the server, or the one behind it, speaks \
                        plain HTTP, such as http://127.0.0.1:3000/";
            return Err(("TLS is not spoken here".to_owned(), hint));
        }
        Some((scheme, _)) => return Err((format!("`{scheme}` is not a known scheme"), FORM)),
        None => text,
    };
    let (authority, asked) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        let hint = "send it as a header: -H 'Authorization: Basic ...'";
        return Err(("a user or a password has no place in it".to_owned(), hint));
    }
    let after_host = authority.rfind(']').map_or(0, |end| end + 1);
    if authority[after_host..].ends_with(':') {
        return Err(("the port behind the colon is missing".to_owned(), FORM));
    }
    if !authority.starts_with('[') && authority.matches(':').count() > 1 {
        let hint = "an IPv6 address needs brackets, as in http://[::1]:3000/";
        return Err(("there is more than one colon in the host".to_owned(), hint));
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(("the host is missing".to_owned(), FORM));
    }
    let named: Authority = authority.parse().map_err(|error| wrong(&error))?;
    let port = match authority[after_host..].split_once(':') {
        Some((_, port)) => port.parse().ok().filter(|port| *port > 0).ok_or_else(port_problem)?,
        None => HTTP_PORT,
    };
    let server = Server::Tcp { host: named.host().to_owned(), port };
    Ok(Url { server, path: path(asked)? })
}

fn port_problem() -> Problem {
    ("the port must be a number from 1 to 65535".to_owned(), FORM)
}

/// A socket's path, then `/`, or what is asked for behind the first colon that a slash follows.
fn unix(rest: &str) -> Result<Url, Problem> {
    let (socket, asked) = match rest.find(":/") {
        Some(colon) => (&rest[..colon], &rest[colon + 1..]),
        None => (rest, "/"),
    };
    if socket.is_empty() {
        return Err(("the path of the socket is missing".to_owned(), FORM));
    }
    if socket.len() > UNIX_PATH_MAX {
        let problem = format!("a socket's path has at most {UNIX_PATH_MAX} bytes");
        return Err((problem, "link the socket under a shorter path"));
    }
    Ok(Url { server: Server::Unix(socket.to_owned()), path: path(asked)? })
}

/// What stands before `://`, and what behind it. Only letters can be a scheme: `a:80/?u=http://b`
/// has none.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (!scheme.is_empty() && scheme.bytes().all(known)).then_some((scheme, rest))
}

/// What goes into the request line; a fragment does not.
fn path(asked: &str) -> Result<PathAndQuery, Problem> {
    let asked = asked.split('#').next().unwrap_or_default();
    let slash = if asked.starts_with('/') { "" } else { "/" };
    let text = format!("{slash}{asked}");
    if let Some(odd) = text.chars().find(|letter| !letter.is_ascii_graphic()) {
        let hint = "percent-encode it: a space is %20";
        return Err((format!("{odd:?} may not stand in a path or query"), hint));
    }
    text.parse().map_err(|error| wrong(&error))
}

fn wrong(error: &InvalidUri) -> Problem {
    (error.to_string(), FORM)
}

impl Url {
    /// Where that is. A name is looked up now, and then never again.
    ///
    /// # Errors
    ///
    /// If it has no address.
    pub(crate) fn resolve(&self) -> Result<Target, UrlError> {
        let (host, port) = match &self.server {
            Server::Unix(path) => return Ok(Target::Unix(PathBuf::from(path))),
            Server::Tcp { host, port } => (host, *port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let unknown = |problem: String| UrlError {
            text: self.to_string(),
            problem,
            hint: "check the name, or put an address in its place",
        };
        let found = (bare, port).to_socket_addrs();
        let found = found.map_err(|error| unknown(format!("`{host}` has no address: {error}")))?;
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Err(unknown(format!("`{host}` has no address")));
        }
        Ok(Target::Tcp(found))
    }

    /// What the `Host` header says of it.
    pub(crate) fn host(&self) -> String {
        match &self.server {
            Server::Unix(_) => "localhost".to_owned(),
            Server::Tcp { host, port } if *port != HTTP_PORT => {
                format!("{host}:{port}")
            }
            Server::Tcp { host, .. } => host.clone(),
        }
    }

    /// What is asked for: a path, and a query if there is one.
    pub(crate) fn path(&self) -> &str {
        self.path.as_str()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Tcp { .. } => write!(f, "http://{}{}", self.host(), self.path()),
            Server::Unix(path) if self.path() == "/" => write!(f, "unix:{path}"),
            Server::Unix(path) => write!(f, "unix:{path}:{}", self.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_server_and_what_is_asked_for() {
        for (text, shown, host, path) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/", "127.0.0.1:3000", "/"),
            ("HTTP://a.example/x?y=1#z", "http://a.example/x?y=1", "a.example", "/x?y=1"),
            ("http://a.example:80?y", "http://a.example/?y", "a.example", "/?y"),
            ("localhost:3000/x", "http://localhost:3000/x", "localhost:3000", "/x"),
            ("localhost", "http://localhost/", "localhost", "/"),
            ("a:81/?u=http://b", "http://a:81/?u=http://b", "a:81", "/?u=http://b"),
            ("http://[::1]:3000/x", "http://[::1]:3000/x", "[::1]:3000", "/x"),
            ("http://[::1]", "http://[::1]/", "[::1]", "/"),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost", "/"),
            ("unix:/run/a.sock:/x?y", "unix:/run/a.sock:/x?y", "localhost", "/x?y"),
            ("unix:/run/a:b.sock:/:/", "unix:/run/a:b.sock:/:/", "localhost", "/:/"),
            ("unix:a.sock", "unix:a.sock", "localhost", "/"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.path()), (shown, path), "{text}");
            assert_eq!(url.host(), host, "{text}");
            assert_eq!(shown.parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        for (text, problem) in [
            ("", "the host is missing"),
            ("http://", "the host is missing"),
            ("http:///x", "the host is missing"),
            ("http://:80/", "the host is missing"),
            ("https://127.0.0.1/", "TLS is not spoken here\nhint: name the address"),
            ("HTTPS://a", "TLS is not spoken here"),
            ("ftp://a/", "`ftp` is not a known scheme"),
            ("http://me:pw@a/", "a user or a password has no place in it"),
            ("http://a:/", "the port behind the colon is missing"),
            ("http://a:0/", "from 1 to 65535"),
            ("http://a:99999/", "from 1 to 65535"),
            ("http://::1:3000/", "needs brackets"),
            ("http://[::1/", "hint: write"),
            ("http://a/b c", "percent-encode it"),
            ("http://a/é", "percent-encode it"),
            ("http://a/\r\nX: y", "percent-encode it"),
            ("http://a b/", "hint: write"),
            ("unix:", "the path of the socket is missing"),
            ("unix::/x", "the path of the socket is missing"),
            ("unix:/run/a.sock:/b c", "percent-encode it"),
        ] {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(error.starts_with(&format!("bad URL `{text}`: ")), "{text}: {error}");
            assert!(error.contains("\nhint: "), "{text}: {error}");
        }
        let long = format!("unix:/{}", "a".repeat(UNIX_PATH_MAX));
        assert!(long.parse::<Url>().unwrap_err().to_string().contains("at most 107 bytes"));
    }

    #[test]
    fn addresses_are_looked_up_once() {
        let resolve = |text: &str| text.parse::<Url>().unwrap().resolve();
        let tcp = |text: &str| Ok(Target::Tcp(vec![text.parse().unwrap()]));
        assert_eq!(resolve("127.0.0.1:3000"), tcp("127.0.0.1:3000"));
        assert_eq!(resolve("http://[::1]/"), tcp("[::1]:80"));
        assert_eq!(resolve("unix:/run/a.sock:/x"), Ok(Target::Unix("/run/a.sock".into())));
        let Ok(Target::Tcp(found)) = resolve("http://localhost:81/") else { panic!("no address") };
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 81));
        let error = resolve("http://no-such-host.invalid/").unwrap_err().to_string();
        assert!(error.contains("`no-such-host.invalid` has no address"), "{error}");
    }
}
