//! Paths that are not quite those of a route. Only what has no route is looked at here.

use std::cell::OnceCell;

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use super::application::App;
use super::table::{Route, Table, Values};
use crate::message::{Request, Response};

/// What becomes of a path whose last slash is one too many, or is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailingSlash {
    /// It is another path: 404, unless it has a route of its own.
    #[default]
    Strict,
    /// It is the same: the route answers.
    Ignore,
    /// It is sent to the path of the route, with 308: method and body stay.
    Redirect,
}

/// How an app takes paths that none of its routes has.
#[derive(Default)]
pub(super) struct Lenience {
    slash: TrailingSlash,
    ignores_case: bool,
    /// The routes by their patterns in lower case, made when they are first looked for.
    folded: OnceCell<Table>,
}

/// What such a path comes to.
pub(super) enum Lenient<'a> {
    Nothing(Request),
    Route(&'a Route, Values, Request),
    Answer(Response, Request),
}

impl Lenience {
    /// Looks for a route that is near enough.
    pub(super) fn find<'a>(&'a self, table: &'a Table, request: Request) -> Lenient<'a> {
        let path = request.path();
        if let Some((route, values)) = self.fold(table, path) {
            return Lenient::Route(route, values, request);
        }
        let toggled = match path.strip_suffix('/') {
            _ if self.slash == TrailingSlash::Strict => return Lenient::Nothing(request),
            // There is nothing to be left out, and nothing to be added to.
            Some("") => return Lenient::Nothing(request),
            None if path.is_empty() => return Lenient::Nothing(request),
            None => format!("{path}/"),
            Some(shorter) => shorter.to_owned(),
        };
        let Some((route, values)) = table.find(&toggled).or_else(|| self.fold(table, &toggled))
        else {
            return Lenient::Nothing(request);
        };
        if self.slash == TrailingSlash::Ignore {
            return Lenient::Route(route, values, request);
        }
        match redirect(&toggled, request.query()) {
            Some(response) => Lenient::Answer(response, request),
            None => Lenient::Nothing(request),
        }
    }

    /// The route of a path in whatever case.
    fn fold<'a>(&'a self, table: &'a Table, path: &str) -> Option<(&'a Route, Values)> {
        if !self.ignores_case {
            return None;
        }
        self.folded.get_or_init(|| table.folded()).find(&path.to_ascii_lowercase())
    }
}

fn redirect(path: &str, query: Option<&str>) -> Option<Response> {
    // Two slashes would name a host, and browsers take a backslash for a slash.
    if path.starts_with("//") || path.starts_with("/\\") {
        return None;
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("{path}{query}")).ok()?;
    Some(Response::empty(StatusCode::PERMANENT_REDIRECT).with_header(LOCATION, location))
}

impl App {
    /// What becomes of a path that has a route only with, or only without, a slash at its end. It
    /// holds for the routes of mounted apps too, and what is set for those alone does not count.
    ///
    /// ```
    /// use corelane::{App, TrailingSlash};
    ///
    /// let app = App::new().get("/users", async || "users").trailing_slash(TrailingSlash::Ignore);
    /// ```
    #[must_use]
    pub fn trailing_slash(mut self, policy: TrailingSlash) -> Self {
        self.lenience.slash = policy;
        self
    }

    /// Lets `/Users` be answered by the route `/users`. Parameters stay as they were sent. It holds
    /// for the routes of mounted apps too, and what is set for those alone does not count.
    ///
    /// ```
    /// use corelane::App;
    ///
    /// let app = App::new().get("/users/:name", async || "a user").ignore_case();
    /// ```
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.lenience.ignores_case = true;
        self
    }
}
