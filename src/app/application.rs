//! The app: its routes, and the way of a request through them.

use std::fmt;
use std::rc::Rc;

use http::{Method, StatusCode};

use super::call::{Answer, Call};
use super::hooks::Hooks;
use super::inbox::Inbox;
use super::lenient::{Lenience, Lenient};
use super::middleware::{Next, Target};
use super::rejection::{Rejection, refuse};
use super::respond::IntoResponse;
use super::state::Scope;
use super::table::{Choice, Route, Slot, Table, Values};
use crate::message::{Captures, Request, Response, Span};
use crate::stats::Pulse;

const NO_PROXY: &str = "501 Not Implemented: this is not a proxy";

/// An application: routes, their handlers, and what the handlers share.
///
/// Each core makes an app of its own, so an app and all that is in it may be `!Send`.
///
/// ```
/// use corelane::{App, Path};
///
/// fn app() -> App {
///     App::new()
///         .get("/", async || "Hello, Cluster!")
///         .get("/users/:id", async |Path(id): Path<u64>| format!("user {id}"))
///         .mount("/admin", App::new().get("/", async || "the admin's page"))
///         .fallback(async || (http::StatusCode::NOT_FOUND, "nothing here"))
/// }
/// # app();
/// ```
///
/// # Paths
///
/// Paths are written as in Express 5: `/users/:id` matches one segment or a part of one
/// (`/:name.json`), `/files/*rest` everything below `/files/`, `/users{/:id}` the same with and
/// without what is in braces, and `\:` is a literal colon. Both kinds of parameter stand for at
/// least one character. A slash at the end is significant, and so is case, unless
/// [`trailing_slash`](Self::trailing_slash) and [`ignore_case`](Self::ignore_case) say otherwise. A
/// path is compared as it was received, percent-encoded; extractors decode.
///
/// If several patterns match, a literal path wins over one with parameters, and that over a
/// wildcard; among equals the one whose literal part is longer.
///
/// # Methods
///
/// HEAD is answered by the handler for GET, without the body; OPTIONS with `Allow`; another method
/// than those of the path with 405 and `Allow`; an unknown path by the [fallback](Self::fallback),
/// else with 404.
///
/// # Panics
///
/// The methods that add a route panic if the path is malformed, is taken, cannot be told from
/// another or has more than eight parameters: the program is wrong, and it should say so when it
/// starts. [`try_route`](Self::try_route) returns the error instead.
#[derive(Default)]
pub struct App {
    pub(super) table: Table,
    pub(super) fallbacks: Table,
    pub(super) scope: Rc<Scope>,
    pub(super) inbox: Inbox,
    pub(super) start: Hooks,
    pub(super) stop: Hooks,
    pub(super) lenience: Lenience,
}

impl App {
    /// An app that answers everything with 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every route: its method, `None` for one that answers any, and its pattern. In the order in
    /// which they were added, those of mounted apps included; one with optional parts is several.
    ///
    /// ```
    /// use corelane::App;
    ///
    /// let app = App::new().get("/users{/:id}", async || "users").any("/echo", async || "echo");
    /// for (method, pattern) in app.routes() {
    ///     println!("{} {pattern}", method.map_or("*", |method| method.as_str()));
    /// }
    /// # assert_eq!(app.routes().len(), 3);
    /// ```
    #[must_use]
    pub fn routes(&self) -> Vec<(Option<&Method>, &str)> {
        self.table.listing()
    }

    /// The pattern of every handler, as its author wrote it, in the order of the numbers that
    /// [`Call::route`] holds: those of routes, then those of fallbacks.
    pub(crate) fn patterns(&self) -> Vec<String> {
        let all = self.table.slots().iter().chain(self.fallbacks.slots());
        all.map(ToString::to_string).collect()
    }

    /// The pattern of one of them.
    pub(crate) fn pattern(&self, number: usize) -> Option<&str> {
        let (routes, fallbacks) = (self.table.slots(), self.fallbacks.slots());
        let fallback = || fallbacks.get(number - routes.len());
        routes.get(number).or_else(fallback).map(|pattern| &**pattern)
    }

    /// How the router alone is measured: whether this path has a route.
    #[cfg(feature = "internals")]
    pub(crate) fn has(&self, path: &str) -> bool {
        std::hint::black_box(self.table.find(path)).is_some()
    }

    /// Answers a request. Allocates nothing but the future of a handler. Says to `pulse` whose code
    /// it calls, and leaves it to the caller to say that it is over.
    pub(crate) fn dispatch(&self, request: Request, pulse: &Pulse) -> Call {
        let path = match request.path() {
            "" if *request.method() == Method::CONNECT => {
                let rejection = Rejection::new(StatusCode::NOT_IMPLEMENTED, NO_PROXY);
                let response = rejection.into_response_to(request.headers());
                return Call::unrouted(reply(&self.scope, response, request));
            }
            "" if *request.method() == Method::OPTIONS => {
                return Call::unrouted(reply(&self.scope, self.table.options(), request));
            }
            "" => "/",
            path => path,
        };
        let Some((route, values)) = self.table.find(path) else {
            return self.unmatched(request, pulse);
        };
        self.take(route, values, request, pulse)
    }

    /// Answers a request on a route.
    pub(super) fn take(
        &self,
        route: &Route,
        values: Values,
        request: Request,
        pulse: &Pulse,
    ) -> Call {
        match route.choose(&request) {
            Choice::Slot(slot) => {
                pulse.enter(Some(slot.number));
                Call { route: Some(slot.number), answer: start(slot, request, values) }
            }
            Choice::Reply(scope, response) => {
                Call::unrouted(reply(scope.unwrap_or(&self.scope), response, request))
            }
        }
    }

    /// Answers a request as a worker would, without a socket: for tests, and for requests that
    /// come from elsewhere. [`test`](crate::test) makes requests, and runs what handlers need.
    ///
    /// A panic of a handler is a panic of this future.
    ///
    /// ```
    /// use corelane::App;
    /// use corelane::test::{TestRequest, block_on};
    ///
    /// let response = block_on(async {
    ///     let app = App::new().get("/", async || "Hello, Cluster!");
    ///     app.call(TestRequest::get("/").into()).await
    /// });
    /// assert_eq!(response.status(), 200);
    /// ```
    pub async fn call(&self, request: Request) -> Response {
        match self.dispatch(request, &Pulse::new()).answer {
            Answer::Ready(response) => response,
            Answer::Pending(future) => future.await,
        }
    }

    /// Answers a request on a path that no route has.
    fn unmatched(&self, request: Request, pulse: &Pulse) -> Call {
        match self.lenience.find(&self.table, request) {
            Lenient::Nothing(request) => self.fall_back(request, pulse),
            Lenient::Route(route, values, request) => self.take(route, values, request, pulse),
            Lenient::Answer(response, request) => {
                Call::unrouted(reply(&self.scope, response, request))
            }
        }
    }

    fn fall_back(&self, mut request: Request, pulse: &Pulse) -> Call {
        request.set_unmatched();
        // A mounted app's fallback answers below its prefix, a slash alone included.
        let path = match request.path().trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let fallback = self.fallbacks.find(path);
        if let Some(Choice::Slot(slot)) = fallback.map(|(route, _)| route.choose(&request)) {
            let route = Some(self.table.slots().len() + slot.number);
            pulse.enter(route);
            return Call { route, answer: enter(slot, request) };
        }
        let response = refuse(StatusCode::NOT_FOUND, request.headers());
        Call::unrouted(reply(&self.scope, response, request))
    }
}

/// Hands the request to the handler of a route.
fn start(slot: &Slot, mut request: Request, values: Values) -> Answer {
    if let Some(pattern) = &slot.route {
        let base = request.path_span().start;
        let mut values = values;
        values.rotate_left(slot.hidden.unwrap_or(0));
        let values = values.map(|span| Span { start: base + span.start, end: base + span.end });
        request.set_captures(Captures::new(Rc::clone(pattern), values));
    }
    enter(slot, request)
}

/// Hands the request to a handler, with the states and through the middleware of its app.
fn enter(slot: &Slot, mut request: Request) -> Answer {
    if slot.scope.is_bare() {
        return slot.endpoint.call(request);
    }
    offer(&slot.scope, &mut request);
    match slot.scope.layers() {
        None => slot.endpoint.call(request),
        Some(layers) => Next::start(layers, Target::Endpoint(slot.endpoint.clone()), request),
    }
}

/// Gives an answer that needs no handler.
fn reply(scope: &Rc<Scope>, response: Response, mut request: Request) -> Answer {
    match scope.layers() {
        None => Answer::Ready(response),
        Some(layers) => {
            request.set_unmatched();
            offer(scope, &mut request);
            Next::start(layers, Target::Response(response), request)
        }
    }
}

/// Makes the states of an app available to extractors.
fn offer(scope: &Rc<Scope>, request: &mut Request) {
    if scope.has_state() {
        request.extensions_mut().insert(Rc::clone(scope));
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.patterns()).finish()
    }
}
