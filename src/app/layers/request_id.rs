//! An id for each request, to find it again in logs.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use http::header::{HeaderName, HeaderValue};

use crate::app::extract::FromRequestParts;
use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::Rejection;
use crate::message::{Request, Response};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids from clients are replaced, because every log line carries one.
const ID_LEN_MAX: usize = 128;

/// The id of a request, given by [`SetRequestId`]; an extractor.
///
/// ```
/// use corelane::{App, RequestId, SetRequestId};
///
/// let app = App::new()
///     .get("/", async |id: RequestId| format!("this is request {id}"))
///     .wrap(SetRequestId::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Rc<str>);

impl RequestId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequestParts for RequestId {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        let id = request.extensions().get::<Self>().cloned();
        id.ok_or_else(|| Rejection::bug("the request has no id; wrap the app in `SetRequestId`"))
    }
}

/// Gives each request an id: in its extensions, to be had by [`RequestId`], and in `X-Request-Id`
/// of its answer.
///
/// An id that comes with the request is kept if it is sane: at most 128 letters, digits and
/// `-._~+/=:`. Others are made of 128 bits that do not repeat; they are no secrets.
///
/// ```
/// use corelane::{App, SetRequestId};
///
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(SetRequestId::new());
/// ```
#[derive(Debug)]
pub struct SetRequestId {
    trusts_clients: bool,
    /// Keys of this core's own: counting under them gives ids that no other core gives.
    keys: [RandomState; 2],
    count: Cell<u64>,
}

impl SetRequestId {
    /// Keeps sane ids that come with requests.
    #[must_use]
    pub fn new() -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { trusts_clients: true, keys, count: Cell::new(0) }
    }

    /// Makes an id for each request, whatever the client sent: for servers that face the Internet,
    /// where a client could pass its requests off as those of another.
    #[must_use]
    pub fn ignore_incoming(mut self) -> Self {
        self.trusts_clients = false;
        self
    }

    fn make(&self) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let [high, low] = &self.keys;
        RequestId(format!("{:016x}{:016x}", high.hash_one(count), low.hash_one(count)).into())
    }

    fn incoming(&self, request: &Request) -> Option<RequestId> {
        let id = request.headers().get(X_REQUEST_ID.as_str())?;
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(&byte);
        let fits = (1..=ID_LEN_MAX).contains(&id.len()) && id.bytes().all(sane);
        (self.trusts_clients && fits).then(|| RequestId(id.into()))
    }
}

impl Default for SetRequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for SetRequestId {
    async fn handle(self: Rc<Self>, mut request: Request, next: Next) -> Response {
        let id = self.incoming(&request).unwrap_or_else(|| self.make());
        let value = HeaderValue::from_str(&id.0).expect("invariant: visible ASCII");
        request.extensions_mut().insert(id);
        next.run(request).await.with_header(X_REQUEST_ID, value)
    }
}
