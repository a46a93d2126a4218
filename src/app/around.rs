//! What an app has around its handlers: states, middleware, messages, and hooks of its life.

use std::any::{Any, type_name};

use super::application::App;
use super::error::{Failed, OnError};
use super::hooks::HookResult;
use super::middleware::{Middleware, layer};
use super::respond::IntoResponse;

impl App {
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

    /// Does something on the worker's core before its first connection is accepted: opens what the
    /// handlers share, or starts tasks by [`spawn_local`](crate::spawn_local), which end with the
    /// worker. Several hooks run in the order in which they were added, those of mounted apps
    /// included.
    ///
    /// If a hook fails, the worker has failed: it does not start, and the cluster says why
    /// ([`StartError`](crate::StartError) at first, a failed life later). A worker that is
    /// restarted runs its hooks again, on an app made anew.
    ///
    /// ```
    /// use std::cell::OnceCell;
    /// use std::io;
    /// use std::rc::Rc;
    /// use corelane::{App, State, spawn_blocking};
    ///
    /// fn app() -> App {
    ///     let hosts = Rc::new(OnceCell::new());
    ///     let own = Rc::clone(&hosts);
    ///     App::new()
    ///         .state(hosts)
    ///         .on_start(async move || -> io::Result<()> {
    ///             let read = spawn_blocking(|| std::fs::read_to_string("/etc/hosts")).await;
    ///             own.set(read.map_err(io::Error::other)??).map_err(io::Error::other)
    ///         })
    ///         .get("/", async |State(hosts): State<Rc<OnceCell<String>>>| {
    ///             hosts.get().cloned().unwrap_or_default()
    ///         })
    /// }
    /// # drop(app());
    /// ```
    #[must_use]
    pub fn on_start<F, R>(self, hook: F) -> Self
    where
        F: AsyncFnOnce() -> R + 'static,
        R: HookResult + 'static,
    {
        self.start.add(hook);
        self
    }

    /// Does something on the worker's core when its last connection has ended, or `timeouts.drain`
    /// is over: writes down what is in memory. Together the hooks have what is left of that time,
    /// at least one second; one that fails, or panics, says so to `tracing`, and the others are
    /// run all the same. A worker that panics, and a process that is killed, runs none.
    ///
    /// ```
    /// use corelane::App;
    ///
    /// let app = App::new().on_stop(async || println!("worker stopped"));
    /// ```
    #[must_use]
    pub fn on_stop<F, R>(self, hook: F) -> Self
    where
        F: AsyncFnOnce() -> R + 'static,
        R: HookResult + 'static,
    {
        self.stop.add(hook);
        self
    }

    /// Runs the hooks for the start.
    pub(crate) async fn start(&self) -> Result<(), String> {
        self.start.run().await
    }

    /// Runs the hooks for the end.
    pub(crate) async fn stop(&self) -> Result<(), String> {
        self.stop.run_all().await
    }

    /// Has a message read.
    pub(crate) fn deliver(&self, message: Box<dyn Any + Send>) {
        if !self.inbox.deliver(message) {
            tracing::warn!("a message that the app does not read; hint: `App::on_message`");
        }
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
    /// the app it is mounted in. See [`Middleware`] and [`Next`](crate::Next).
    #[must_use]
    pub fn wrap(self, middleware: impl Middleware) -> Self {
        self.scope.wrap(layer(middleware));
        self
    }

    /// Looks at every answer of 4xx or 5xx, whoever gave it, and gives the one to be sent: the same
    /// or another. A handler's panic is answered behind its back, by the server.
    ///
    /// It stands where it is added, as [`wrap`](Self::wrap) does: it sees what was added before.
    ///
    /// ```
    /// use corelane::{App, Failed, Json};
    /// use serde_json::json;
    ///
    /// let app = App::new().get("/", async || "Hello, Cluster!").on_error(async |failed: Failed| {
    ///     if let Some(cause) = failed.cause() {
    ///         eprintln!("{} {}: {cause}", failed.method(), failed.path());
    ///     }
    ///     let status = failed.status();
    ///     (status, Json(json!({ "code": status.as_u16(), "path": failed.path() })))
    /// });
    /// ```
    #[must_use]
    pub fn on_error<F, R>(self, observer: F) -> Self
    where
        F: AsyncFn(Failed) -> R + 'static,
        R: IntoResponse + 'static,
    {
        self.wrap(OnError(observer))
    }
}
