//! What the server answers.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};

use super::contained::Contained;
use super::{Body, Handover, Upgraded};

/// An answer. The server adds `Date`, the framing headers and, when it closes, `Connection`.
///
/// ```
/// use corelane::Response;
/// use http::StatusCode;
///
/// let response = Response::new("no such user").with_status(StatusCode::NOT_FOUND);
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// ```
pub struct Response {
    status: StatusCode,
    /// What kind of body it is, unless the headers say otherwise; so that the usual answer needs
    /// no header map.
    content_type: Option<HeaderValue>,
    headers: Fields,
    body: Body,
    handover: Option<Handover>,
    /// The error that the answer came of, for those who observe errors.
    cause: Option<Box<Contained<Rc<dyn Error>>>>,
}

/// The headers of an answer: its own, or those of a prepared answer that many requests share.
enum Fields {
    /// None, as in most answers: an answer is moved about, and an empty map is not small.
    None,
    Own(Box<HeaderMap>),
    Shared(Rc<HeaderMap>),
}

static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// What an encoder needs of a [`Response`].
pub(crate) struct Parts {
    /// The body, to be sent.
    pub body: Body,
    /// What becomes of the connection afterwards, if it is upgraded.
    pub handover: Option<Handover>,
}

impl Response {
    /// 200 with this body and no `Content-Type`.
    pub fn new(body: impl Into<Body>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: None,
            headers: Fields::None,
            body: body.into(),
            handover: None,
            cause: None,
        }
    }

    /// This status and no body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self::new(Body::empty()).with_status(status)
    }

    /// This status, and its text as the body.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<Body>) -> Self {
        const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
        Self::new(text).with_status(status).with_content_type(PLAIN)
    }

    /// Replaces the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Says what kind of body it is; a `Content-Type` in the headers wins over it.
    #[must_use]
    pub fn with_content_type(mut self, value: HeaderValue) -> Self {
        self.content_type = Some(value);
        self
    }

    /// Replaces every header of this name by `value`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers_mut().insert(name, value);
        self
    }

    /// Shares these headers with other answers: no copy is made unless one of them is changed.
    #[must_use]
    pub(crate) fn with_shared_headers(mut self, headers: Rc<HeaderMap>) -> Self {
        self.headers = Fields::Shared(headers);
        self
    }

    /// Stops speaking HTTP on this connection: once the answer has been sent, `then` gets the byte
    /// stream and the bytes that the client has already sent behind its request.
    ///
    /// The status becomes 101, unless it is a 2xx set before (the answer to CONNECT). Name the
    /// protocol in an `Upgrade` header; `Connection: upgrade` is added. A client that did not ask
    /// for an upgrade gets 426 instead.
    #[must_use]
    pub fn upgrade<F, Fut>(mut self, then: F) -> Self
    where
        F: FnOnce(Upgraded, Bytes) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        if !self.status.is_success() || self.status == StatusCode::OK {
            self.status = StatusCode::SWITCHING_PROTOCOLS;
        }
        self.handover = Some(Handover::new(then));
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers set so far.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        match &self.headers {
            Fields::None => &NO_HEADERS,
            Fields::Own(map) => map,
            Fields::Shared(map) => map,
        }
    }

    /// The headers, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        if let Fields::None = self.headers {
            self.headers = Fields::Own(Box::default());
        }
        if let Fields::Shared(map) = &self.headers {
            self.headers = Fields::Own(Box::new(HeaderMap::clone(map)));
        }
        match &mut self.headers {
            Fields::Own(map) => map,
            Fields::None | Fields::Shared(_) => unreachable!("invariant: made its own above"),
        }
    }

    /// The `Content-Type` to send, if the headers have none.
    pub(crate) fn default_content_type(&self) -> Option<&HeaderValue> {
        let default = self.content_type.as_ref()?;
        if let Fields::None = self.headers {
            return Some(default);
        }
        (!self.headers().contains_key(header::CONTENT_TYPE)).then_some(default)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The body, to be read or replaced.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Keeps the error that the answer came of.
    #[must_use]
    pub(crate) fn with_cause(mut self, cause: Option<Rc<dyn Error>>) -> Self {
        // Whatever becomes of it: where it is dropped, nobody else's request must suffer from it.
        self.cause = cause.map(|cause| Box::new(Contained::new(cause)));
        self
    }

    /// The error that the answer came of.
    pub(crate) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause.get())
    }

    /// Whether the connection is to be upgraded.
    pub(crate) fn upgrades(&self) -> bool {
        self.handover.is_some()
    }

    /// Takes the answer apart, once its head has been encoded.
    pub(crate) fn into_parts(self) -> Parts {
        Parts { body: self.body, handover: self.handover }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers(), self.body)
    }
}
