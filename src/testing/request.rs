//! A request to be sent.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::h1::{HeadDecoder, HeadLimits};
use crate::message::{Body, Head, Peer, Request};

/// What a server takes by default.
const LIMITS: HeadLimits =
    HeadLimits { request_line_bytes: 8 * 1024, head_bytes: 16 * 1024, headers: 100 };

/// A request to be sent by a test.
///
/// ```
/// use corelane::test::TestRequest;
/// use serde_json::json;
///
/// let request = TestRequest::put("/notes/7?draft=1")
///     .header("x-request-id", "abc")
///     .json(&json!({ "title": "Lanes" }));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct TestRequest {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!(stringify!($method), " of this path, with a query if it has one.")]
        pub fn $name(target: impl Into<String>) -> Self {
            Self::new(Method::$method, target)
        }
    )*};
}

impl TestRequest {
    /// This method, of this path or other target, as it is to be sent.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    methods! { get GET post POST put PUT patch PATCH delete DELETE head HEAD options OPTIONS }

    /// Adds a header; one that is set more than once is sent more than once.
    ///
    /// # Panics
    /// There can be no such header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        let text = value.to_string();
        let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(&text).ok());
        let Some((name, value)) = header else { panic!("no header: `{name}: {text}`") };
        self.headers.append(name, value);
        self
    }

    /// The body, without a `Content-Type`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// `value` cannot be JSON.
    pub fn json(self, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value);
        self.typed("application/json", body.unwrap_or_else(|error| panic!("no JSON: {error}")))
    }

    /// The body as an HTML form without files.
    ///
    /// # Panics
    /// `value` has no fields, or fields that are more than text and numbers.
    pub fn form(self, value: &impl Serialize) -> Self {
        let body = serde_urlencoded::to_string(value);
        let body = body.unwrap_or_else(|error| panic!("no form: {error}"));
        self.typed("application/x-www-form-urlencoded", body)
    }

    fn typed(mut self, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body(body)
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// As it is sent. `Host` and `Content-Length` are added if they are not there.
    pub(super) fn encode(&self, host: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
                bytes.extend_from_slice(piece);
            }
        };
        if !self.headers.contains_key(HOST) {
            line("host", host.as_bytes());
        }
        for (name, value) in &self.headers {
            line(name.as_str(), value.as_bytes());
        }
        let sends_none = matches!(self.method, Method::GET | Method::HEAD) && self.body.is_empty();
        if !sends_none && !self.headers.contains_key(CONTENT_LENGTH) {
            line("content-length", self.body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// As a worker would read it, from a client on this machine.
///
/// # Panics
/// No handler would see such a request: the server itself refuses it.
impl From<TestRequest> for Request {
    fn from(request: TestRequest) -> Self {
        let (mut head, bytes) = (Head::default(), request.encode("localhost"));
        let decoded = HeadDecoder::default().decode(&bytes, &LIMITS, &mut head);
        match decoded {
            Ok(Some(_)) => {}
            Ok(None) => panic!("`{} {}` has no end", request.method, request.target),
            Err(refusal) => panic!(
                "the server answers `{} {}` with {} itself: {}",
                request.method, request.target, refusal.status, refusal.reason
            ),
        }
        let peer = Peer::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 49_152)));
        Self::new(Rc::new(head), peer, Body::from(request.body))
    }
}
