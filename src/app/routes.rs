//! What an app answers: its routes, those of mounted apps, and its fallback.

use std::fmt;
use std::rc::Rc;

use http::Method;

use super::application::App;
use super::builtin::Endpoint;
use super::files::{Files, Part};
use super::handler::Handler;
use super::pattern::{Pattern, PatternError};
use super::table::Verb;

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
        or_panic(self.add(&Verb::Any, path, &Endpoint::handler(handler)));
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

    /// Answers several methods on one path.
    ///
    /// ```
    /// use corelane::{App, Methods};
    ///
    /// let note = Methods::new()
    ///     .get(async || "the note")
    ///     .put(async || "the note, replaced")
    ///     .delete(async || http::StatusCode::NO_CONTENT);
    /// let app = App::new().at("/notes/:id", note);
    /// ```
    ///
    /// # Panics
    /// As [`App`] says.
    #[must_use]
    #[track_caller]
    pub fn at(mut self, path: &str, methods: Methods) -> Self {
        for (verb, endpoint) in methods.0 {
            or_panic(self.add(&verb, path, &endpoint));
        }
        self
    }

    /// Answers this method on this path, for paths that are known at run time only.
    ///
    /// # Errors
    /// The path is malformed, is taken, cannot be told from another or has more than eight
    /// parameters. The app is as it was, but for those variants of a path with optional parts that
    /// could be added.
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
        self.add(&Verb::One(method), path, &Endpoint::handler(handler))
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
            self.add(&Verb::One(method.clone()), path, endpoint)?;
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
            match self.add(&Verb::One(Method::GET), &path, &Endpoint::files(&files, part)) {
                // Somebody else answers for the root.
                Err(error) if part == Part::Root && error.is_taken() => {}
                added => added?,
            }
        }
        Ok(())
    }

    /// Takes over the routes of another app, each below `prefix`. Its `/` becomes the prefix
    /// itself, its fallback answers what it has no route for. Its handlers see the parameters of
    /// the prefix before their own; see [`mount_isolated`](Self::mount_isolated).
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
        or_panic(self.try_mount(prefix, false, app));
        self
    }

    /// As [`mount`](Self::mount), of an app whose handlers do not see the parameters of the prefix,
    /// so that it is the same wherever it is mounted.
    ///
    /// ```
    /// use corelane::{App, Path};
    ///
    /// let notes = App::new().get("/:id", async |Path(id): Path<u64>| format!("note {id}"));
    /// let app = App::new().mount_isolated("/teams/:team/notes", notes);
    /// ```
    ///
    /// # Panics
    /// As [`mount`](Self::mount).
    #[must_use]
    #[track_caller]
    pub fn mount_isolated(mut self, prefix: &str, app: Self) -> Self {
        or_panic(self.try_mount(prefix, true, app));
        self
    }

    fn try_mount(&mut self, prefix: &str, by_itself: bool, app: Self) -> Result<(), PatternError> {
        let prefix = Pattern::prefix(prefix)?;
        app.scope.mount(Rc::clone(&self.scope));
        assert!(self.inbox.merge(app.inbox), "two apps read messages of the same type");
        self.start.merge(&app.start);
        self.stop.merge(&app.stop);
        self.table.mount(&prefix, by_itself, app.table)?;
        self.fallbacks.mount(&prefix, by_itself, app.fallbacks)
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

    fn add(&mut self, verb: &Verb, path: &str, endpoint: &Endpoint) -> Result<(), PatternError> {
        for pattern in Pattern::variants(path)? {
            let scope = Rc::clone(&self.scope);
            self.table.add(verb.clone(), &pattern, endpoint.clone(), scope)?;
        }
        Ok(())
    }
}

/// The handlers of one path, for [`App::at`].
#[derive(Default)]
pub struct Methods(Vec<(Verb, Endpoint)>);

macro_rules! chained {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("Answers ", stringify!($method), ".")]
        #[must_use]
        pub fn $name<H, Args>(self, handler: H) -> Self
        where
            H: Handler<Args>,
            Args: 'static,
        {
            self.on(Method::$method, handler)
        }
    )*};
}

impl Methods {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    chained! { get GET post POST put PUT delete DELETE patch PATCH head HEAD options OPTIONS }

    /// Answers this method.
    #[must_use]
    pub fn on<H, Args>(mut self, method: Method, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: 'static,
    {
        self.0.push((Verb::One(method), Endpoint::handler(handler)));
        self
    }

    /// Answers every method that has no handler of its own.
    #[must_use]
    pub fn any<H, Args>(mut self, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: 'static,
    {
        self.0.push((Verb::Any, Endpoint::handler(handler)));
        self
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(verb, _)| verb)).finish()
    }
}

#[track_caller]
fn or_panic<T>(result: Result<T, PatternError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
