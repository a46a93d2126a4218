//! What stands around the handlers of an app.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::builtin::Endpoint;
use super::call::{Answer, HandlerFuture};
use super::respond::IntoResponse;
use crate::message::{Request, Response};

/// What is left of the way to an answer: the middleware further in, then the handler.
///
/// ```
/// use corelane::{App, Next, Request, Response};
/// use http::header::{HeaderValue, SERVER};
///
/// async fn name_server(request: Request, next: Next) -> Response {
///     let response = next.run(request).await;
///     response.with_header(SERVER, HeaderValue::from_static("corelane"))
/// }
///
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(name_server);
/// ```
pub struct Next {
    /// The innermost comes first, so that the next one is taken from the end.
    layers: Vec<Layer>,
    target: Target,
}

/// What [`App::wrap`](crate::App::wrap) puts around handlers: an async closure or function of a
/// [`Request`] and a [`Next`], or a built-in layer such as [`Cors`](crate::Cors).
///
/// A closure names the types of its arguments.
///
/// ```
/// use corelane::{App, Next, Request, SecurityHeaders};
///
/// let app = App::new()
///     .get("/", async || "Hello, Cluster!")
///     .wrap(async |request: Request, next: Next| next.run(request).await)
///     .wrap(SecurityHeaders::new());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not middleware",
    label = "not middleware",
    note = "middleware is an async closure or `async fn` of a request and what is left of the \
            way, such as `async |request: Request, next: Next| next.run(request).await`",
    note = "its output must implement `IntoResponse`"
)]
pub trait Middleware: 'static {
    /// Answers one request, mostly by [`Next::run`].
    fn handle(self: Rc<Self>, request: Request, next: Next) -> impl Future<Output = Response>;
}

impl<F, R> Middleware for F
where
    F: AsyncFn(Request, Next) -> R + 'static,
    R: IntoResponse,
{
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let head = R::NEGOTIATES.then(|| request.head());
        let answer = self(request, next).await;
        match head {
            None => answer.into_response(),
            Some(head) => answer.into_response_to(head.headers()),
        }
    }
}

/// One middleware.
pub(super) type Layer = Rc<dyn Fn(Request, Next) -> Pin<Box<dyn Future<Output = Response>>>>;

/// What the middleware stands around.
pub(super) enum Target {
    Endpoint(Endpoint),
    /// An answer that needed no handler, such as 404.
    Response(Response),
}

impl Next {
    /// Goes on to the answer.
    pub async fn run(mut self, request: Request) -> Response {
        if let Some(layer) = self.layers.pop() {
            return layer(request, self).await;
        }
        match self.target {
            Target::Response(response) => response,
            Target::Endpoint(endpoint) => match endpoint.call(request) {
                Answer::Ready(response) => response,
                Answer::Pending(future) => future.await,
            },
        }
    }

    /// Sends a request through these layers; the last of them is the outermost.
    pub(super) fn start(layers: Vec<Layer>, target: Target, request: Request) -> Answer {
        Answer::Pending(HandlerFuture::new(Self { layers, target }.run(request)))
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} layers)", self.layers.len())
    }
}

/// A middleware as it is kept.
pub(super) fn layer<M: Middleware>(middleware: M) -> Layer {
    let middleware = Rc::new(middleware);
    Rc::new(move |request, next| Box::pin(Rc::clone(&middleware).handle(request, next)))
}
