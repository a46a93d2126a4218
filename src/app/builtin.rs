//! Who answers on a route: a handler, or one of the answers that a configuration file can name.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};

use super::call::{Answer, HandlerFuture};
use super::files::{Files, Part};
use super::handler::Handler;
use crate::message::{Request, Response};

/// Who answers on a route.
#[derive(Clone)]
pub(crate) struct Endpoint(Kind);

#[derive(Clone)]
enum Kind {
    Handler(Rc<dyn Fn(Request) -> HandlerFuture>),
    Prepared { status: StatusCode, headers: Rc<HeaderMap>, body: Bytes },
    Echo,
    Files(Rc<Files>, Part),
}

impl Endpoint {
    pub(super) fn handler<H: Handler<Args>, Args: 'static>(handler: H) -> Self {
        let handler = Rc::new(handler);
        let start = move |request| HandlerFuture::new(Rc::clone(&handler).call(request));
        Self(Kind::Handler(Rc::new(start)))
    }

    /// Whether it answers for a directory itself.
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.0, Kind::Files(_, Part::Root))
    }

    /// Answers by files: the root's index, or what the wildcard of the route names.
    pub(super) fn files(files: &Rc<Files>, part: Part) -> Self {
        Self(Kind::Files(Rc::clone(files), part))
    }

    /// Answers one request.
    pub(super) fn call(&self, request: Request) -> Answer {
        match &self.0 {
            Kind::Handler(start) => Answer::Pending(start(request)),
            Kind::Prepared { status, headers, body } => Answer::Ready(
                Response::new(body.clone())
                    .with_status(*status)
                    .with_shared_headers(Rc::clone(headers)),
            ),
            Kind::Echo => Answer::Ready(mirror(request)),
            Kind::Files(files, part) => files.answer(*part, request),
        }
    }

    /// The methods it answers, unless others are named.
    pub(super) fn usual_methods(&self) -> &'static [Method] {
        match self.0 {
            Kind::Handler(_) | Kind::Prepared { .. } | Kind::Files(..) => &[Method::GET],
            Kind::Echo => &[Method::POST],
        }
    }
}

/// Always the same answer, prepared once. A body without `Content-Type` is plain text.
pub(crate) fn respond(status: StatusCode, mut headers: HeaderMap, body: &[u8]) -> Endpoint {
    const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
    if !body.is_empty() {
        headers.entry(CONTENT_TYPE).or_insert(PLAIN);
    }
    // A copy of one's own: the reference count of what the workers' apps are made from would be
    // written by every core, twice per request. Bytes made from a vector allocate their count at
    // the first clone: do it now.
    let body = Bytes::copy_from_slice(body);
    drop(body.clone());
    Endpoint(Kind::Prepared { status, headers: Rc::new(headers), body })
}

/// Sends the client elsewhere.
pub(crate) fn redirect(to: HeaderValue, status: StatusCode) -> Endpoint {
    let headers = HeaderMap::from_iter([(LOCATION, to)]);
    respond(status, headers, &[])
}

/// Answers the request's body as it arrives, with the request's `Content-Type`.
pub(crate) fn echo() -> Endpoint {
    Endpoint(Kind::Echo)
}

fn mirror(mut request: Request) -> Response {
    const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let content_type = request.headers().bytes("content-type");
    let content_type = content_type.and_then(|value| HeaderValue::from_bytes(value).ok());
    Response::new(request.take_body()).with_content_type(content_type.unwrap_or(BINARY))
}
