//! The keys of `[[apps.routes]]`.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::model::{Action, Route};
use super::reader::{Entry, Table, nearest};
use super::report::Report;
use crate::app::{App, FileOptions, Files};

const ROUTE_KEYS: &[&str] = &["path", "methods", "respond", "redirect", "files", "echo"];
const ACTION_KEYS: &[&str] = &["respond", "redirect", "files", "echo"];
const RESPOND_KEYS: &[&str] = &["status", "body", "headers"];
const FILES_KEYS: &[&str] = &["root", "index", "max_age", "precompressed"];
const REDIRECT_KEYS: &[&str] = &["to", "status"];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// A year, in milliseconds: caches keep nothing for longer.
const AGE_MAX: u64 = 365 * 24 * 3600 * 1000;

const REDIRECT_STATUSES: &[u16] = &[301, 302, 303, 307, 308];

/// What the server says itself: a second value would contradict it.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Reads the routes of an app.
pub(super) fn read(entry: &Entry, report: &mut Report) -> Vec<Route> {
    let tables = entry.tables("[[apps.routes]]", ROUTE_KEYS, report);
    let routes: Vec<_> = tables.iter().filter_map(|table| route(table, report)).collect();
    check_paths(&routes, report);
    routes
}

fn route(table: &Table, report: &mut Report) -> Option<Route> {
    let action = action(table, report);
    let methods = match (table.get("methods"), &action) {
        (Some(entry), Some(Action::Files { .. })) => {
            entry.wrong("must be left out: files are answered to GET and HEAD", report);
            vec![Method::GET]
        }
        (Some(entry), _) => methods(&entry, report),
        (None, Some(Action::Echo)) => vec![Method::POST],
        (None, Some(_)) => vec![Method::GET],
        (None, None) => Vec::new(),
    };
    let entry = table.need("path", "path = \"/\"", report)?;
    let path = entry.text(report)?.to_owned();
    if matches!(action, Some(Action::Files { .. })) && !ends_in_wildcard(&path) {
        entry.wrong(
            "must end in a wildcard such as \"/assets/*path\": what it stands for is the file",
            report,
        );
        return None;
    }
    Some(Route { path, at: entry.at, methods, action: action.unwrap_or(Action::Echo) })
}

fn ends_in_wildcard(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(_, last)| last.starts_with('*'))
}

/// Patterns must be sound, and no request may match two routes: the app that will serve them says.
fn check_paths(routes: &[Route], report: &mut Report) {
    let mut app = App::new();
    for (index, route) in routes.iter().enumerate() {
        let Route { path, at, methods, .. } = route;
        if !path.starts_with('/') {
            report.wrong(at, format!("bad path `{path}`: it must start with `/`"));
            continue;
        }
        // What the app would say of these too, but without the line.
        let mut earlier = routes[..index].iter().filter(|earlier| earlier.path == *path);
        let taken = earlier.find_map(|earlier| {
            let method = methods.iter().find(|method| earlier.methods.contains(method))?;
            Some((method, report.line(earlier.at.start)))
        });
        if let Some((method, line)) = taken {
            report.wrong(at, format!("{method} {path} is already answered, see line {line}"));
        } else if let Err(error) = route.add_to(&mut app) {
            report.wrong(at, error.to_string());
        }
    }
}

fn methods(entry: &Entry, report: &mut Report) -> Vec<Method> {
    let mut methods = Vec::new();
    for (item, text) in entry.texts("[\"GET\"]", report) {
        let known = METHODS.contains(&text).then(|| Method::from_bytes(text.as_bytes()).ok());
        let Some(method) = known.flatten() else {
            let hint = match nearest(text, METHODS.iter().copied()) {
                Some(near) => format!(" (did you mean `{near}`?)"),
                None => format!(": use one of {}", METHODS.join(", ")),
            };
            report.wrong(&item.at, format!("unknown method `{text}`{hint}"));
            continue;
        };
        if methods.contains(&method) {
            report.wrong(&item.at, format!("{method} is named twice"));
            continue;
        }
        methods.push(method);
    }
    methods
}

/// The one action of a route; every further one is read all the same, for its mistakes.
fn action(table: &Table, report: &mut Report) -> Option<Action> {
    let mut action = None;
    let mut first = None;
    let entries = table.entries().into_iter();
    for (key, at, entry) in entries.filter(|(key, ..)| ACTION_KEYS.contains(key)) {
        match first {
            None => first = Some(key),
            Some(first) => {
                let message = format!("`{key}` beside `{first}`: a route does one thing, drop one");
                report.wrong(&at, message);
            }
        }
        let read = match key {
            "respond" => respond(&entry, report),
            "redirect" => redirect(&entry, report),
            "files" => files(&entry, report),
            _ => entry.table(&[], report).map(|_| Action::Echo),
        };
        action = action.or(read);
    }
    if first.is_none() {
        let message = "the route does nothing: add `respond`, `redirect`, `files` or `echo`";
        report.missing(&table.at, message);
    }
    action
}

fn respond(entry: &Entry, report: &mut Report) -> Option<Action> {
    let table = entry.table(RESPOND_KEYS, report)?;
    let status = status(&table, StatusCode::OK, report);
    let mut headers = match table.get("headers") {
        Some(entry) => headers(&entry, report),
        None => HeaderMap::new(),
    };
    let body = match table.get("body") {
        Some(entry) => body(&entry, status, report),
        None => Bytes::new(),
    };
    if !body.is_empty() {
        headers.entry(header::CONTENT_TYPE).or_insert(TEXT);
    }
    Some(Action::Respond { status, headers, body })
}

fn status(table: &Table, default: StatusCode, report: &mut Report) -> StatusCode {
    let Some(entry) = table.get("status") else { return default };
    let Some(number) = entry.integer(report) else { return default };
    let code = u16::try_from(number).ok().filter(|code| (200..=599).contains(code));
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    if status.is_none() {
        entry.wrong(format!("must be between 200 and 599, not {number}"), report);
    }
    status.unwrap_or(default)
}

fn body(entry: &Entry, status: StatusCode, report: &mut Report) -> Bytes {
    const BODILESS: [StatusCode; 3] =
        [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    let Some(text) = entry.text(report) else { return Bytes::new() };
    if !text.is_empty() && BODILESS.contains(&status) {
        entry.wrong(format!("must be left out: a {} has none", status.as_u16()), report);
    }
    Bytes::copy_from_slice(text.as_bytes())
}

fn headers(entry: &Entry, report: &mut Report) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(table) = entry.any_table(report) else { return headers };
    for (key, at, entry) in table.entries() {
        let name = HeaderName::from_bytes(key.as_bytes()).ok();
        match &name {
            None => report.wrong(&at, format!("`{key}` cannot be the name of a header")),
            Some(name) if RESERVED.contains(&name.as_str()) => {
                report.wrong(&at, format!("`{key}` is set by the server: leave it out"));
            }
            Some(name) if headers.contains_key(name) => {
                report.wrong(&at, format!("`{key}` is set twice: case makes no difference"));
            }
            Some(_) => {}
        }
        let Some(text) = entry.text(report) else { continue };
        let value = HeaderValue::from_str(text);
        let value = value.map_err(|_| "the value of a header is one line, without controls");
        if let (Some(name), Some(value)) = (name, entry.checked(value, report)) {
            headers.insert(name, value);
        }
    }
    headers
}

fn files(entry: &Entry, report: &mut Report) -> Option<Action> {
    let table = entry.table(FILES_KEYS, report)?;
    let base = FileOptions::default();
    let index = table.get("index").and_then(|entry| name(&entry, report));
    let precompressed = table.get("precompressed").and_then(|entry| entry.truth(report));
    let options = FileOptions {
        index: index.unwrap_or_else(|| base.index.clone()),
        max_age: table.duration("max_age", 0..=AGE_MAX, report).unwrap_or(base.max_age),
        precompressed: precompressed.unwrap_or(base.precompressed),
        ..base
    };
    let root = table.need("root", "root = \"./public\"", report)?;
    let path = PathBuf::from(root.text(report)?);
    let opened = Files::with_options(&path, options.clone()).open();
    root.checked(opened, report)?;
    Some(Action::Files { root: path, options })
}

/// The name of a file, and not a path.
fn name(entry: &Entry, report: &mut Report) -> Option<PathBuf> {
    let text = entry.text(report)?;
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\0']) {
        entry.wrong("must be the name of a file such as \"index.html\"", report);
        return None;
    }
    Some(text.into())
}

fn redirect(entry: &Entry, report: &mut Report) -> Option<Action> {
    let table = entry.table(REDIRECT_KEYS, report)?;
    let to = table.need("to", "to = \"/new\"", report);
    let to = to.and_then(|entry| target(&entry, report));
    let status = status_of_redirect(&table, report);
    Some(Action::Redirect { to: to?, status })
}

fn status_of_redirect(table: &Table, report: &mut Report) -> StatusCode {
    const DEFAULT: StatusCode = StatusCode::PERMANENT_REDIRECT;
    let Some(entry) = table.get("status") else { return DEFAULT };
    let Some(number) = entry.integer(report) else { return DEFAULT };
    let code = u16::try_from(number).ok().filter(|code| REDIRECT_STATUSES.contains(code));
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    if status.is_none() {
        entry.wrong(format!("must be 301, 302, 303, 307 or 308, not {number}"), report);
    }
    status.unwrap_or(DEFAULT)
}

fn target(entry: &Entry, report: &mut Report) -> Option<HeaderValue> {
    const STARTS: [&str; 3] = ["/", "http://", "https://"];
    let text = entry.text(report)?;
    if !STARTS.iter().any(|start| text.starts_with(start)) {
        entry.wrong("must be a path such as \"/new\" or an http:// or https:// URL", report);
        return None;
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(text).ok().filter(|_| plain);
    if value.is_none() {
        entry.wrong("must be plain ASCII without spaces: percent-encode the rest", report);
    }
    value
}
