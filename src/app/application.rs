//! The app: its routes, and the way of a request through them.

use std::any::{Any, type_name};
use std::fmt;
use std::rc::Rc;

use http::{Method, StatusCode};

use super::builtin::Endpoint;
use super::call::{Answer, Call};
use super::files::{Files, Part};
use super::handler::Handler;
use super::inbox::Inbox;
use super::middleware::{Middleware, Next, Target, layer};
use super::pattern::{Pattern, PatternError};
use super::rejection::{Rejection, refuse};
use super::respond::IntoResponse;
use super::state::Scope;
use super::table::{Choice, Slot, Table, Values, Verb};
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
/// (`/:name.json`), `/files/*rest` everything below `/files/`, and `\:` is a literal colon. Both
/// stand for at least one character. A slash at the end is significant. A path is compared as it
/// was received, percent-encoded; extractors decode.
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
    table: Table,
    fallbacks: Table,
    scope: Rc<Scope>,
    inbox: Inbox,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("Answers ", stringify!($method), " on this path.")]
        ///
        /// # Panics
        /// As [`App`] says.
        #[must_use]
        #[track_caller]
        pub fn $name<H, Args>(self, path: &str, handler: H) -> Self
        where
            H: Handler<Args>,
            Args: 'static,
        {
            self.route(Method::$method, path, handler)
        }
    )*};
}

impl App {
    /// An app that answers everything with 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    methods! { get GET post POST put PUT delete DELETE patch PATCH head HEAD options OPTIONS }

    /// Answers every method on this path that has no handler of its own.
    ///
    /// # Panics
    /// As [`App`] says.
    #[must_use]
    #[track_caller]
    pub fn any<H, Args>(mut self, path: &str, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: 'static,
    {
        or_panic(self.add(Verb::Any, path, Endpoint::handler(handler)));
        self
    }

    /// Answers this method on this path.
    ///
    /// ```
    /// use corelane::App;
    /// use http::Method;
    ///
    /// let app = App::new().route(Method::TRACE, "/", async || "traced");
    /// ```
    ///
    /// # Panics
    /// As [`App`] says.
    #[must_use]
    #[track_caller]
    pub fn route<H, Args>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: 'static,
    {
        or_panic(self.try_route(method, path, handler));
        self
    }

    /// Answers this method on this path, for paths that are known at run time only.
    ///
    /// # Errors
    /// The path is malformed, is taken, cannot be told from another or has more than eight
    /// parameters. The app is as it was.
    pub fn try_route<H, Args>(
        &mut self,
        method: Method,
        path: &str,
        handler: H,
    ) -> Result<(), PatternError>
    where
        H: Handler<Args>,
        Args: 'static,
    {
        self.add(Verb::One(method), path, Endpoint::handler(handler))
    }

    #[cfg(any(feature = "cli", test))]
    /// Answers these methods on this path by a built-in endpoint; without methods, those that are
    /// usual for it: GET, and POST for an echo.
    ///
    /// # Errors
    /// As [`try_route`](Self::try_route); methods before the one that was refused are added.
    pub(crate) fn try_endpoint(
        &mut self,
        methods: Option<&[Method]>,
        path: &str,
        endpoint: &Endpoint,
    ) -> Result<(), PatternError> {
        for method in methods.unwrap_or(endpoint.usual_methods()) {
            self.add(Verb::One(method.clone()), path, endpoint.clone())?;
        }
        Ok(())
    }

    /// Answers GET and HEAD on everything below `path` by files: a directory's path, or
    /// [`Files`] that say more. Other routes are found first.
    ///
    /// ```
    /// use corelane::App;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let public = directory.path();
    /// let app = App::new().get("/api/now", async || "now").files("/", public);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`App`] says; or the directory cannot be opened.
    #[must_use]
    #[track_caller]
    pub fn files(mut self, path: &str, files: impl Into<Files>) -> Self {
        let files = files.into();
        if let Err(error) = files.open() {
            panic!("{error}");
        }
        or_panic(self.try_files(path, files));
        self
    }

    /// As [`files`](Self::files); a directory that cannot be opened is looked for again at every
    /// request.
    pub(crate) fn try_files(&mut self, path: &str, files: Files) -> Result<(), PatternError> {
        let files = Rc::new(files);
        let below = path.strip_suffix('/').unwrap_or(path);
        for (path, part) in [
            (path.to_owned(), Part::Root),
            (format!("{below}/"), Part::Root),
            (format!("{below}/*path"), Part::Wildcard),
        ] {
            match self.add(Verb::One(Method::GET), &path, Endpoint::files(&files, part)) {
                // Somebody else answers for the root.
                Err(error) if part == Part::Root && error.is_taken() => {}
                added => added?,
            }
        }
        Ok(())
    }

    /// Takes over the routes of another app, each below `prefix`. Its `/` becomes the prefix
    /// itself, its fallback answers what it has no route for.
    ///
    /// ```
    /// use corelane::{App, Path};
    ///
    /// let users = App::new()
    ///     .get("/", async || "all users")
    ///     .get("/:id", async |Path(id): Path<u64>| format!("user {id}"));
    /// let app = App::new().mount("/users", users); // answers /users and /users/7
    /// ```
    ///
    /// # Panics
    /// As [`App`] says; or the prefix ends in `/` or in a wildcard, or both apps read messages of
    /// the same type.
    #[must_use]
    #[track_caller]
    pub fn mount(mut self, prefix: &str, app: Self) -> Self {
        or_panic(self.try_mount(prefix, app));
        self
    }

    /// Reads the messages of one type that other workers, or the program, send to this one; see
    /// [`Workers`](crate::Workers). A message that nobody reads is dropped, with a warning to
    /// whoever listens to `tracing`.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use corelane::App;
    ///
    /// struct Threshold(u32);
    ///
    /// fn app() -> App {
    ///     let threshold = Rc::new(Cell::new(10));
    ///     let own = Rc::clone(&threshold);
    ///     App::new()
    ///         .get("/", move || { let now = threshold.get(); async move { now.to_string() } })
    ///         .on_message(move |Threshold(new)| own.set(new))
    /// }
    /// # let _ = app();
    /// ```
    ///
    /// # Panics
    /// Messages of this type are read already. A panic of `read` itself ends the worker, which is
    /// then restarted.
    #[must_use]
    #[track_caller]
    pub fn on_message<M: 'static>(mut self, read: impl Fn(M) + 'static) -> Self {
        let name = type_name::<M>();
        assert!(self.inbox.insert(read), "the app reads messages of type `{name}` already");
        self
    }

    /// Has a message read.
    pub(crate) fn deliver(&self, message: Box<dyn Any + Send>) {
        if !self.inbox.deliver(message) {
            tracing::warn!("a message that the app does not read; hint: `App::on_message`");
        }
    }

    fn try_mount(&mut self, prefix: &str, app: Self) -> Result<(), PatternError> {
        Pattern::check_prefix(prefix)?;
        app.scope.mount(Rc::clone(&self.scope));
        assert!(self.inbox.merge(app.inbox), "two apps read messages of the same type");
        self.table.mount(prefix, app.table)?;
        self.fallbacks.mount(prefix, app.fallbacks)
    }

    /// Gives the handlers a value, to be had by the [`State`](crate::State) extractor. A mounted
    /// app sees its own values first, then those of the app it is mounted in.
    ///
    /// # Panics
    /// There is a value of this type already.
    #[must_use]
    #[track_caller]
    pub fn state<T: 'static>(self, value: T) -> Self {
        let name = type_name::<T>();
        assert!(
            self.scope.insert(value),
            "the app has a state of type `{name}` already; wrap one of the two in a type of its own"
        );
        self
    }

    /// Puts a middleware around everything that this app answers, 404 and 405 included; the one
    /// added last is outermost. What a mounted app has no route for is answered, and wrapped, by
    /// the app it is mounted in. See [`Middleware`] and [`Next`].
    #[must_use]
    pub fn wrap(self, middleware: impl Middleware) -> Self {
        self.scope.wrap(layer(middleware));
        self
    }

    /// Answers what no route matches, instead of 404.
    ///
    /// # Panics
    /// There is a fallback already.
    #[must_use]
    #[track_caller]
    pub fn fallback<H, Args>(mut self, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: 'static,
    {
        let endpoint = Endpoint::handler(handler);
        for path in ["/", "/*rest"] {
            let pattern = or_panic(Pattern::parse(path));
            let scope = Rc::clone(&self.scope);
            let added = self.fallbacks.add(Verb::Any, &pattern, endpoint.clone(), scope);
            assert!(added.is_ok(), "the app has a fallback already; remove one of the two");
        }
        self
    }

    fn add(&mut self, verb: Verb, path: &str, endpoint: Endpoint) -> Result<(), PatternError> {
        self.table.add(verb, &Pattern::parse(path)?, endpoint, Rc::clone(&self.scope))
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
    fn unmatched(&self, mut request: Request, pulse: &Pulse) -> Call {
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

#[track_caller]
fn or_panic<T>(result: Result<T, PatternError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.patterns()).finish()
    }
}
