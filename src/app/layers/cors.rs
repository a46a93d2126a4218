//! Which other sites' scripts may use this server: the CORS protocol of the Fetch standard.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::field::vary;
use crate::app::middleware::{Middleware, Next};
use crate::message::{Request, Response};

const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_HEADERS: &str = "access-control-request-headers";

/// Lets scripts of other origins read the answers, as the Fetch standard says.
///
/// A preflight (OPTIONS with `Origin` and `Access-Control-Request-Method`) is answered here, with
/// 204 or, if its origin may not, with 403; it does not reach the handlers. CORS protects the
/// clients of browsers, not the server: any other request is answered, only without the headers
/// that would let a script read the answer.
///
/// ```
/// use std::time::Duration;
/// use corelane::{App, Cors};
/// use http::Method;
///
/// let cors = Cors::origins(["https://app.example", "https://admin.example"])
///     .methods([Method::GET, Method::PUT])
///     .headers(["content-type", "x-api-key"])
///     .expose(["x-request-id"])
///     .credentials()
///     .max_age(Duration::from_secs(600));
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(cors);
/// ```
pub struct Cors {
    origins: Origins,
    methods: HeaderValue,
    /// Those that scripts may send; `None` if any.
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

enum Origins {
    Any,
    List(Vec<Box<str>>),
    Predicate(Box<dyn Fn(&str) -> bool>),
}

impl Cors {
    /// Every site may read the answers, without cookies.
    #[must_use]
    pub fn any() -> Self {
        Self::new(Origins::Any)
    }

    /// These origins may, each as browsers write it: `https://app.example`, with a port unless it
    /// is the scheme's own, without a path.
    ///
    /// # Panics
    /// One of them ends in `/` or has capital letters or a `*`, so that it could never match.
    #[must_use]
    #[track_caller]
    pub fn origins<'a>(origins: impl IntoIterator<Item = &'a str>) -> Self {
        let list = origins.into_iter().map(|origin| {
            let wrong = |c: char| c == '*' || c.is_ascii_uppercase();
            assert!(
                !origin.ends_with('/') && !origin.contains(wrong),
                "no browser sends the origin `{origin}`; write it as in `https://app.example`"
            );
            origin.into()
        });
        Self::new(Origins::List(list.collect()))
    }

    /// The origins of which this is true may. Compare whole origins: one that merely ends in
    /// `example.org` may be `https://not-example.org`.
    #[must_use]
    pub fn origins_if(allowed: impl Fn(&str) -> bool + 'static) -> Self {
        Self::new(Origins::Predicate(Box::new(allowed)))
    }

    fn new(origins: Origins) -> Self {
        Self {
            origins,
            methods: HeaderValue::from_static("GET, HEAD, PUT, PATCH, POST, DELETE"),
            headers: None,
            exposed: None,
            credentials: false,
            max_age: None,
        }
    }

    /// The methods that scripts may use, instead of GET, HEAD, PUT, PATCH, POST and DELETE.
    ///
    /// # Panics
    /// A name is longer than a header may be.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = join(methods);
        self
    }

    /// The headers that scripts may send, instead of any.
    ///
    /// # Panics
    /// One is no header name.
    #[must_use]
    #[track_caller]
    pub fn headers<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.headers = Some(join(names.into_iter().map(name)));
        self
    }

    /// The headers of answers that scripts may read, besides the few that they always may.
    ///
    /// # Panics
    /// One is no header name.
    #[must_use]
    #[track_caller]
    pub fn expose<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.exposed = Some(join(names.into_iter().map(name)));
        self
    }

    /// Scripts may send cookies and passwords along.
    ///
    /// # Panics
    /// Any origin may read the answers: browsers refuse that, since every site could then act in
    /// its visitors' names.
    #[must_use]
    #[track_caller]
    pub fn credentials(mut self) -> Self {
        let named = !matches!(self.origins, Origins::Any);
        assert!(named, "credentials need named origins: `Cors::origins` or `Cors::origins_if`");
        self.credentials = true;
        self
    }

    /// How long browsers may remember a preflight; else five seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(HeaderValue::from(age.as_secs()));
        self
    }

    /// Whether the answer depends on who asks.
    fn varies(&self) -> bool {
        !matches!(self.origins, Origins::Any)
    }

    /// What to say to this origin, if it may read the answer.
    fn allow(&self, origin: &[u8]) -> Option<HeaderValue> {
        let text = std::str::from_utf8(origin).ok()?;
        let allowed = match &self.origins {
            Origins::Any => return Some(HeaderValue::from_static("*")),
            Origins::List(list) => list.iter().any(|known| **known == *text),
            Origins::Predicate(allowed) => allowed(text),
        };
        allowed.then(|| HeaderValue::from_bytes(origin).ok()).flatten()
    }

    /// The headers that preflights and other answers have in common.
    fn grant(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let value = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, value);
        }
    }

    fn preflight(&self, request: &Request, origin: Option<HeaderValue>) -> Response {
        let mut response = match origin {
            Some(_) => Response::empty(StatusCode::NO_CONTENT),
            None => Response::text(StatusCode::FORBIDDEN, "this origin may not use this server"),
        };
        let headers = response.headers_mut();
        if self.varies() {
            vary(headers, "Origin");
        }
        if self.headers.is_none() {
            vary(headers, "Access-Control-Request-Headers");
        }
        let Some(origin) = origin else { return response };
        self.grant(headers, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        // `*` would not cover `Authorization`, nor anything at all with credentials.
        let asked = || HeaderValue::from_bytes(request.headers().bytes(REQUEST_HEADERS)?).ok();
        if let Some(names) = self.headers.clone().or_else(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        if let Some(age) = &self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        response
    }
}

impl Middleware for Cors {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let origin = request.headers().bytes("origin");
        let allowed = origin.and_then(|origin| self.allow(origin));
        let preflight = *request.method() == Method::OPTIONS
            && origin.is_some()
            && request.headers().contains(REQUEST_METHOD);
        if preflight {
            return self.preflight(&request, allowed);
        }
        let mut response = next.run(request).await;
        if self.varies() {
            // Also without `Origin`: a cache must not hand that answer to a script.
            vary(response.headers_mut(), "Origin");
        }
        // With `*` also without `Origin`: a cache would hand that answer to a script.
        let any = matches!(self.origins, Origins::Any).then_some(HeaderValue::from_static("*"));
        if let Some(origin) = allowed.or(any) {
            self.grant(response.headers_mut(), origin);
            if let Some(names) = &self.exposed {
                let headers = response.headers_mut();
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
            }
        }
        response
    }
}

#[track_caller]
fn name(name: &str) -> HeaderName {
    name.parse().unwrap_or_else(|_| panic!("`{name}` is no header name"))
}

fn join(names: impl IntoIterator<Item = impl ToString>) -> HeaderValue {
    let names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    names.join(", ").parse().expect("invariant: methods and header names are visible ASCII")
}

impl fmt::Debug for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origins {
            Origins::Any => f.write_str("Cors(any)"),
            Origins::List(list) => write!(f, "Cors({list:?})"),
            Origins::Predicate(_) => f.write_str("Cors(predicate)"),
        }
    }
}
