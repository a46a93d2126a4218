//! Who may come in: the Basic and Bearer schemes of RFC 7617 and RFC 6750.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use subtle::ConstantTimeEq as _;

use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::refuse;
use crate::message::{Request, Response};

type Check<T> = Box<dyn Fn(T) -> Pin<Box<dyn Future<Output = bool>>>>;

/// Lets in who knows a name and its password, and answers 401 to others. Passwords go over the
/// wire as they are, so use it behind TLS only.
///
/// ```
/// use corelane::{App, BasicAuth};
///
/// let app = App::new()
///     .get("/admin", async || "the admin's page")
///     .wrap(BasicAuth::new("admin", |name: String, password: String| async move {
///         corelane::same_secret(&name, "ann") & corelane::same_secret(&password, "s3cret")
///     }));
/// ```
pub struct BasicAuth {
    challenge: HeaderValue,
    check: Check<(String, String)>,
}

impl BasicAuth {
    /// Asks `check` about each name and password; clients show `realm` to their users. Compare by
    /// [`same_secret`], or verify a password hash.
    ///
    /// # Panics
    /// The realm has control characters.
    #[must_use]
    #[track_caller]
    pub fn new<Fut>(realm: &str, check: impl Fn(String, String) -> Fut + 'static) -> Self
    where
        Fut: Future<Output = bool> + 'static,
    {
        let challenge = challenge("Basic", realm, r#", charset="UTF-8""#);
        Self { challenge, check: Box::new(move |(name, word)| Box::pin(check(name, word))) }
    }
}

impl Middleware for BasicAuth {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let Some(pair) = credentials(&request, "basic").and_then(basic) else {
            return challenged(&self.challenge, &request);
        };
        if !(self.check)(pair).await {
            return challenged(&self.challenge, &request);
        }
        next.run(request).await
    }
}

/// Lets in who has a token, and answers 401 to others. A token lets anybody in who has it, so use
/// it behind TLS only.
///
/// ```
/// use corelane::{App, BearerAuth};
///
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(BearerAuth::new(
///     "api",
///     |token: String| async move { corelane::same_secret(&token, "6f1e0d") },
/// ));
/// ```
pub struct BearerAuth {
    challenge: HeaderValue,
    refusal: HeaderValue,
    check: Check<String>,
}

impl BearerAuth {
    /// Asks `check` about each token. Compare by [`same_secret`], or look a hash of the token up.
    ///
    /// # Panics
    /// The realm has control characters.
    #[must_use]
    #[track_caller]
    pub fn new<Fut>(realm: &str, check: impl Fn(String) -> Fut + 'static) -> Self
    where
        Fut: Future<Output = bool> + 'static,
    {
        Self {
            challenge: challenge("Bearer", realm, ""),
            refusal: challenge("Bearer", realm, r#", error="invalid_token""#),
            check: Box::new(move |token| Box::pin(check(token))),
        }
    }
}

impl Middleware for BearerAuth {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let Some(token) = credentials(&request, "bearer").map(str::to_owned) else {
            // RFC 6750, 3.1: no error code for a request without a token.
            return challenged(&self.challenge, &request);
        };
        if !(self.check)(token).await {
            return challenged(&self.refusal, &request);
        }
        next.run(request).await
    }
}

/// Whether two secrets are the same, in a time that does not say where they differ. It does say
/// whether they are of the same length.
///
/// ```
/// assert!(corelane::same_secret("6f1e0d", "6f1e0d"));
/// assert!(!corelane::same_secret("6f1e0d", "6f1e0e"));
/// ```
#[must_use]
pub fn same_secret(one: impl AsRef<[u8]>, other: impl AsRef<[u8]>) -> bool {
    one.as_ref().ct_eq(other.as_ref()).into()
}

/// What follows the scheme. Two `Authorization` headers are none: who reads which of them differs
/// between servers.
fn credentials<'a>(request: &'a Request, scheme: &str) -> Option<&'a str> {
    let headers = request.headers();
    let mut values = headers.all("authorization");
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (name, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    (name.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// The name, which has no colon, and the password.
fn basic(credentials: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[track_caller]
fn challenge(scheme: &str, realm: &str, parameters: &str) -> HeaderValue {
    // RFC 9110, 5.6.4: a quoted-string escapes these two.
    let realm = realm.replace('\\', r"\\").replace('"', r#"\""#);
    let value = HeaderValue::from_str(&format!("{scheme} realm=\"{realm}\"{parameters}"));
    value.unwrap_or_else(|_| panic!("the realm {realm:?} has control characters"))
}

fn challenged(challenge: &HeaderValue, request: &Request) -> Response {
    refuse(StatusCode::UNAUTHORIZED, request.headers())
        .with_header(WWW_AUTHENTICATE, challenge.clone())
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicAuth({:?})", self.challenge)
    }
}

impl fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerAuth({:?})", self.challenge)
    }
}
