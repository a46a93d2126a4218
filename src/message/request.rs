//! What the client asked.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{Method, Version};

use super::head::{Head, Headers, Span};
use super::media::Media;
use super::{Body, Extensions};

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client on a Unix socket.
    Unix {
        /// The user that it ran as when it connected, as the kernel says.
        uid: u32,
    },
}

/// How the request reached this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Encrypted, up to a proxy that says so: this server does not encrypt.
    Https,
}

/// A request. It stays on the core that took its connection.
pub struct Request {
    head: Rc<Head>,
    peer: Peer,
    body: Body,
    captures: Captures,
    extensions: Extensions,
}

impl Request {
    /// A request with this head, from this client.
    pub(crate) fn new(head: Rc<Head>, peer: Peer, body: Body) -> Self {
        Self { head, peer, body, captures: Captures::default(), extensions: Extensions::default() }
    }

    /// The method: GET, POST, ...
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The version the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// How the request reached this process.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    /// The path as received, percent-encoded; empty for `OPTIONS *` and for CONNECT.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.text(self.head.path)
    }

    /// What follows the `?`, as received.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.query.map(|span| self.head.text(span))
    }

    /// The request target as received: `/path?query`, `http://host/path`, `*` or `host:port`.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.text(self.head.target)
    }

    /// The host asked for, with its port if one was given.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.head.authority.map(|span| self.head.text(span))
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        self.head.headers()
    }

    /// The first value of the header called `name`, in any case, if it is visible ASCII.
    ///
    /// ```
    /// use corelane::{App, Request};
    ///
    /// let app = App::new().get("/", async |request: Request| {
    ///     request.header("user-agent").unwrap_or("nobody").to_owned()
    /// });
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)
    }

    /// Whether `Content-Type` says that the body is of this kind: a type (`text/html`), one with
    /// wildcards (`text/*`), a subtype (`json`) or a suffix (`+json`). Whether there is a body is
    /// another question.
    ///
    /// ```
    /// use corelane::{App, Request};
    /// use http::StatusCode;
    ///
    /// let app = App::new().post("/", async |request: Request| {
    ///     if request.is("image/*") { StatusCode::OK } else { StatusCode::UNSUPPORTED_MEDIA_TYPE }
    /// });
    /// ```
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.header("content-type").is_some_and(|value| Media::new(value).is(kind))
    }

    /// The head, to be had when the request itself is gone.
    pub(crate) fn head(&self) -> Rc<Head> {
        Rc::clone(&self.head)
    }

    /// Who sent it. Behind a proxy this is the proxy.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The parameters of the route that matched.
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params { captures: &self.captures, head: &self.head }
    }

    /// The pattern of the route that matched, as its author wrote it; `None` for what no route
    /// matched, so for fallbacks, 404 and 405.
    ///
    /// ```
    /// use corelane::{App, Next, Request, Response};
    ///
    /// async fn count(request: Request, next: Next) -> Response {
    ///     let route = request.matched_path().unwrap_or("none").to_owned();
    ///     let response = next.run(request).await;
    ///     println!("{route} {}", response.status());
    ///     response
    /// }
    ///
    /// let app = App::new().get("/users/:id", async || "a user").wrap(count);
    /// ```
    #[must_use]
    pub fn matched_path(&self) -> Option<&str> {
        match &self.captures.route {
            Matched::Nothing => None,
            // A route without parameters is matched by its own text alone.
            Matched::Literally => Some(self.path()).filter(|path| !path.is_empty()).or(Some("/")),
            Matched::Pattern(route) => Some(&route.pattern),
        }
    }

    /// Records that no route matched.
    pub(crate) fn set_unmatched(&mut self) {
        self.captures.route = Matched::Nothing;
    }

    /// Records what the router matched.
    pub(crate) fn set_captures(&mut self, captures: Captures) {
        self.captures = captures;
    }

    /// The path within the head, so that the router can record ranges.
    pub(crate) fn path_span(&self) -> Span {
        self.head.path
    }

    /// What middleware attached.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What middleware attached, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The body, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the body out and leaves an empty one.
    #[must_use]
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method(), self.target(), self.version())
    }
}

/// How many parameters a route may have.
pub(crate) const PARAMS_MAX: usize = 8;

/// A route with parameters.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its pattern, as its author wrote it.
    pub pattern: Rc<str>,
    /// The names of the parameters, in the order of the pattern.
    pub names: Rc<[Box<str>]>,
}

/// What the router matched: the names belong to the route, the values are ranges into the head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    route: Matched,
    values: [Span; PARAMS_MAX],
}

/// A request is made as one that is matched literally: that takes no work.
#[derive(Clone, Debug, Default)]
enum Matched {
    #[default]
    Literally,
    Pattern(Rc<Route>),
    Nothing,
}

impl Captures {
    /// The parameters of one route, in the order of its pattern; `values` beyond the names are
    /// ignored.
    pub(crate) fn new(route: Rc<Route>, values: [Span; PARAMS_MAX]) -> Self {
        debug_assert!(route.names.len() <= PARAMS_MAX, "the router refuses longer patterns");
        Self { route: Matched::Pattern(route), values }
    }

    fn names(&self) -> &[Box<str>] {
        match &self.route {
            Matched::Pattern(route) => &route.names,
            Matched::Literally | Matched::Nothing => &[],
        }
    }
}

/// The parameters of the route that matched, percent-encoded as they were received.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    captures: &'a Captures,
    head: &'a Head,
}

impl<'a> Params<'a> {
    /// The value of the parameter called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// Every name and value, in the order of the pattern.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + use<'a> {
        let Self { captures, head } = *self;
        captures.names().iter().zip(captures.values).map(|(name, span)| (&**name, head.text(span)))
    }
}
