//! What a configuration says, once it is known to be right.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

use crate::app::{
    self, AccessLog, App, FileOptions, Files, LogWriter, PatternError, TrustedProxies,
};
use crate::cluster::{Address, Instances};
use crate::restart::Restart;
use crate::server::{Balance, Limits, OnPanic, Timeouts};

/// A whole `corelane.toml`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// At least one, with distinct names and addresses, in the order of the file.
    pub apps: Vec<AppConfig>,
}

/// One `[[apps]]` table, with `[defaults]` merged in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppConfig {
    /// Its name: unique in the file.
    pub name: String,
    /// Where it listens: at least one address.
    pub listen: Vec<Address>,
    /// Where it answers with its metrics, if anywhere.
    pub metrics: Option<Address>,
    /// How many workers.
    pub instances: Instances,
    /// Which CPUs they may be pinned to; all that the process may use if `None`.
    pub cpus: Option<BTreeSet<usize>>,
    /// Who serves a new connection.
    pub balance: Balance,
    /// Whose word counts on where a request came from.
    pub trust_proxy: Option<TrustedProxies>,
    /// What a handler's panic ends.
    pub on_panic: OnPanic,
    /// How workers are restarted.
    pub restart: Restart,
    /// What it answers; a program says that itself.
    pub routes: Vec<Route>,
    /// What counts under the manager.
    pub managed: Managed,
    /// Every key that the file says of it or for all, as it stands there.
    pub definition: Map<String, Value>,
    /// How much a client may send or hold.
    pub limits: Limits,
    /// How long a worker waits.
    pub timeouts: Timeouts,
}

/// What counts under the manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Managed {
    /// The program that the app is; none of a built-in one.
    pub program: Option<Program>,
    /// Where it runs.
    pub cwd: Option<PathBuf>,
    /// Variables that it is given.
    pub env: BTreeMap<String, String>,
    /// A file of further ones.
    pub env_file: Option<PathBuf>,
    /// Variables that it has from whoever starts it.
    pub env_inherit: Vec<String>,
    /// By which signal it is told to stop.
    pub stop_signal: String,
    /// Whom it runs as.
    pub user: Option<String>,
    /// And in which group.
    pub group: Option<String>,
    /// Apps that must be online before it starts.
    pub after: Vec<String>,
    /// How much memory it may use, in bytes.
    pub memory_max: Option<u64>,
    /// How it is asked whether it is well.
    pub health: Option<Health>,
    /// What becomes of its output.
    pub logs: Logs,
    /// How long a program that says nothing must run to count as ready.
    pub min_uptime: Duration,
    /// Exit codes after which it stays down.
    pub stop_exit_codes: Vec<i32>,
    /// How long it may take to be ready.
    pub ready: Duration,
    /// How long it may take to stop.
    pub stop: Duration,
}

/// A program, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its file, or a name to be looked for in `PATH`.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// How an app is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// What is asked for.
    pub path: String,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many failures in a row are too many.
    pub failures: u32,
}

impl Health {
    /// By asking for this path, as often as is usual.
    pub(super) fn at(path: &str) -> Self {
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(2));
        Self { path: path.to_owned(), interval, timeout, failures: 3 }
    }
}

/// What becomes of an app's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logs {
    /// Where it is written; below the manager's home if `None`.
    pub dir: Option<PathBuf>,
    /// A file that is larger is put aside.
    pub rotate_bytes: u64,
    /// How many are kept.
    pub keep: u32,
    /// What a built-in app writes of each request to stdout.
    pub access: Access,
}

/// What is written of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    #[default]
    Off,
    /// A line as nginx and Apache write it.
    Combined,
    /// A JSON object.
    Json,
}

impl Default for Logs {
    fn default() -> Self {
        Self { dir: None, rotate_bytes: 50 << 20, keep: 10, access: Access::Off }
    }
}

impl Default for Managed {
    fn default() -> Self {
        Self {
            program: None,
            cwd: None,
            env: BTreeMap::new(),
            env_file: None,
            env_inherit: vec!["PATH".to_owned()],
            stop_signal: "TERM".to_owned(),
            user: None,
            group: None,
            after: Vec::new(),
            memory_max: None,
            health: None,
            logs: Logs::default(),
            min_uptime: Duration::from_secs(1),
            stop_exit_codes: Vec::new(),
            ready: Duration::from_secs(30),
            stop: Duration::from_secs(35),
        }
    }
}

/// One `[[apps.routes]]` table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    /// The path pattern, such as `/users/:id`.
    pub path: String,
    /// Where the path stands in the file, in bytes.
    pub at: Range<usize>,
    /// At least one. HEAD is implied by GET.
    pub methods: Vec<Method>,
    /// What it does.
    pub action: Action,
}

/// What a built-in route does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Gives a fixed answer.
    Respond {
        /// 200 to 599.
        status: StatusCode,
        /// The headers, with a `Content-Type` if there is a body.
        headers: HeaderMap,
        /// The body; empty where the status allows none.
        body: Bytes,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// The `Location`.
        to: HeaderValue,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Answers by the files below a directory.
    Files {
        /// The directory.
        root: PathBuf,
        /// How they are served.
        options: FileOptions,
    },
    /// Answers the request's body.
    Echo,
}

impl AppConfig {
    /// The app that the routes describe; `log` is where requests are logged, if they are to be.
    ///
    /// # Errors
    /// None of a configuration that was loaded: its paths have been checked.
    pub(crate) fn app(&self, log: Option<&LogWriter>) -> Result<App, PatternError> {
        let mut app = App::new();
        for route in &self.routes {
            route.add_to(&mut app)?;
        }
        if let Some(proxies) = &self.trust_proxy {
            app = app.trust_proxy(proxies.clone());
        }
        Ok(match (self.managed.logs.access, log) {
            (Access::Off, _) | (_, None) => app,
            (Access::Combined, Some(log)) => app.wrap(AccessLog::combined(log)),
            (Access::Json, Some(log)) => app.wrap(AccessLog::json(log)),
        })
    }
}

impl Route {
    /// Adds the route to an app.
    ///
    /// # Errors
    /// The path is malformed, or some request would match an earlier route as well.
    pub(super) fn add_to(&self, app: &mut App) -> Result<(), PatternError> {
        let endpoint = match &self.action {
            Action::Files { root, options } => {
                let below = self.path.rsplit_once('/').map_or("", |(below, _)| below);
                let files = Files::with_options(root, options.clone());
                return app.try_files(if below.is_empty() { "/" } else { below }, files);
            }
            Action::Respond { status, headers, body } => {
                app::respond(*status, headers.clone(), body)
            }
            Action::Redirect { to, status } => app::redirect(to.clone(), *status),
            Action::Echo => app::echo(),
        };
        app.try_endpoint(Some(&self.methods), &self.path, &endpoint)
    }
}
