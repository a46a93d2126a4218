//! What a configuration says, once it is known to be right.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, StatusCode};

use crate::app::{self, App, FileOptions, Files, PatternError};
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
    /// What a handler's panic ends.
    pub on_panic: OnPanic,
    /// How workers are restarted.
    pub restart: Restart,
    /// What it answers: at least one route.
    pub routes: Vec<Route>,
    /// How much a client may send or hold.
    pub limits: Limits,
    /// How long a worker waits.
    pub timeouts: Timeouts,
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
    /// The app that the routes describe.
    ///
    /// # Errors
    /// None of a configuration that was loaded: its paths have been checked.
    pub(crate) fn app(&self) -> Result<App, PatternError> {
        let mut app = App::new();
        for route in &self.routes {
            route.add_to(&mut app)?;
        }
        Ok(app)
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
