//! The keys that count under the manager: whom an app runs as, when it is given up, what becomes of
//! its output; and those of an app that is a program.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::model::{Access, Health, Logs, Managed, Program};
use super::reader::{Entry, Table};
use super::report::Report;
use super::unit::{GIB, HOUR, MIB};
use crate::sys::child::signal_of;

/// What `[defaults]` may say as well.
pub(super) const SHARED_KEYS: &[&str] = &[
    "cwd",
    "env",
    "env_file",
    "env_inherit",
    "stop_signal",
    "user",
    "group",
    "after",
    "memory_max",
    "health",
    "logs",
];
/// What only an app says.
pub(super) const OWN_KEYS: &[&str] = &["program", "args"];

const HEALTH_KEYS: &[&str] = &["path", "interval", "timeout", "failures"];
const LOG_KEYS: &[&str] = &["dir", "rotate_bytes", "keep", "access"];
const ACCESS: &[(&str, Access)] =
    &[("off", Access::Off), ("combined", Access::Combined), ("json", Access::Json)];

/// In milliseconds.
const WAIT: RangeInclusive<u64> = 1..=24 * HOUR;
/// In bytes: less than a program needs to start is a mistake.
const MEMORY: RangeInclusive<u64> = MIB..=1024 * GIB;
const ROTATE: RangeInclusive<u64> = 4096..=1024 * GIB;
const KEEP: RangeInclusive<u32> = 0..=1000;
const FAILURES: RangeInclusive<u32> = 1..=1000;
const EXIT_CODES: RangeInclusive<i64> = 0..=255;
/// How much longer than to drain an app may take to stop, if nothing else is said.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Reads them; what is not there is as in `base`. `drain` is how long the app may take to drain.
pub(super) fn read(table: &Table, base: &Managed, drain: Duration, report: &mut Report) -> Managed {
    let mut managed = base.clone();
    if let Some(entry) = table.get("program") {
        managed.program = program(&entry, table, report);
    } else if let Some(entry) = table.get("args") {
        entry.wrong("is for a `program`, which is missing", report);
    }
    let mut text = |key: &str, value: &mut Option<String>| {
        if let Some(entry) = table.get(key) {
            *value = filled(&entry, report).map(str::to_owned);
        }
    };
    text("user", &mut managed.user);
    text("group", &mut managed.group);
    let mut path = |key: &str, value: &mut Option<PathBuf>| {
        if let Some(entry) = table.get(key) {
            *value = filled(&entry, report).map(PathBuf::from);
        }
    };
    path("cwd", &mut managed.cwd);
    path("env_file", &mut managed.env_file);
    if let Some(entry) = table.get("env") {
        managed.env.extend(variables(&entry, report));
    }
    if let Some(entry) = table.get("env_inherit") {
        managed.env_inherit = names(&entry, report);
    }
    if let Some(entry) = table.get("after") {
        let named = entry.texts("[\"database\"]", report).into_iter();
        managed.after = named.map(|(_, name)| name.to_owned()).collect();
    }
    if let Some(entry) = table.get("stop_signal")
        && let Some(name) = entry.text(report)
    {
        if signal_of(name).is_none() {
            entry.wrong(format!("must be a signal such as \"TERM\", not `{name}`"), report);
        }
        name.clone_into(&mut managed.stop_signal);
    }
    managed.memory_max = table.size("memory_max", MEMORY, report).or(base.memory_max);
    if let Some(entry) = table.get("health") {
        managed.health = health(&entry, report);
    }
    if let Some(entry) = table.get("logs") {
        managed.logs = logs(&entry, &base.logs, managed.program.is_some(), report);
    }
    waits(table, &mut managed, drain, report);
    managed
}

fn program(entry: &Entry, table: &Table, report: &mut Report) -> Option<Program> {
    let path = filled(entry, report)?.to_owned();
    let args = match table.get("args") {
        Some(entry) => entry.any_texts("[\"--verbose\"]", report),
        None => Vec::new(),
    };
    Some(Program { path, args })
}

/// A text that is not empty and has no zero byte.
fn filled<'a>(entry: &Entry<'a>, report: &mut Report) -> Option<&'a str> {
    let text = entry.text(report)?;
    if text.is_empty() || text.contains('\0') {
        entry.wrong("must not be empty, nor have a zero byte in it", report);
        return None;
    }
    Some(text)
}

fn variables(entry: &Entry, report: &mut Report) -> BTreeMap<String, String> {
    let Some(table) = entry.any_table(report) else { return BTreeMap::new() };
    let mut variables = BTreeMap::new();
    for (name, at, value) in table.entries() {
        if !is_variable(name) {
            report.wrong(&at, format!("`{name}` is no name of a variable"));
        }
        if let Some(value) = value.text(report) {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    variables
}

fn names(entry: &Entry, report: &mut Report) -> Vec<String> {
    let names = entry.any_texts("[\"PATH\"]", report);
    if let Some(name) = names.iter().find(|name| !is_variable(name)) {
        entry.wrong(format!("`{name}` is no name of a variable"), report);
    }
    names
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn health(entry: &Entry, report: &mut Report) -> Option<Health> {
    let table = entry.table(HEALTH_KEYS, report)?;
    let path = table.need("path", "path = \"/health\"", report)?;
    let text = path.text(report)?;
    if !text.starts_with('/') || text.contains(|char: char| char.is_whitespace()) {
        path.wrong("must be a path such as \"/health\"", report);
    }
    let base = Health::at(text);
    Some(Health {
        interval: table.duration("interval", WAIT, report).unwrap_or(base.interval),
        timeout: table.duration("timeout", WAIT, report).unwrap_or(base.timeout),
        failures: table.count("failures", FAILURES, base.failures, report),
        path: base.path,
    })
}

fn logs(entry: &Entry, base: &Logs, is_program: bool, report: &mut Report) -> Logs {
    let Some(table) = entry.table(LOG_KEYS, report) else { return base.clone() };
    let access = table.get("access");
    if let Some(entry) = access.as_ref().filter(|_| is_program) {
        entry.wrong("is for an app with `routes`; a `program` logs its requests itself", report);
    }
    let access = access.and_then(|entry| entry.word(ACCESS, report));
    let dir = table.get("dir").and_then(|entry| filled(&entry, report)).map(PathBuf::from);
    Logs {
        dir: dir.or_else(|| base.dir.clone()),
        rotate_bytes: table.size("rotate_bytes", ROTATE, report).unwrap_or(base.rotate_bytes),
        keep: table.count("keep", KEEP, base.keep, report),
        access: access.unwrap_or(base.access),
    }
}

/// The keys of `restart` and `timeouts` that are about the process.
fn waits(table: &Table, managed: &mut Managed, drain: Duration, report: &mut Report) {
    if let Some(restart) = table.get("restart").and_then(|entry| entry.as_table()) {
        if let Some(uptime) = restart.duration("min_uptime", WAIT, report) {
            managed.min_uptime = uptime;
        }
        if let Some(entry) = restart.get("stop_exit_codes") {
            managed.stop_exit_codes = exit_codes(&entry, report);
        }
    }
    let timeouts = table.get("timeouts").and_then(|entry| entry.as_table());
    let wait = |key: &str, report: &mut Report| timeouts.as_ref()?.duration(key, WAIT, report);
    if let Some(ready) = wait("ready", report) {
        managed.ready = ready;
    }
    match wait("stop", report) {
        Some(stop) => {
            managed.stop = stop;
            let entry = timeouts.as_ref().and_then(|table| table.get("stop"));
            if let Some(entry) = entry.filter(|_| stop <= drain) {
                entry.wrong(format!("must exceed `drain`, which is {drain:?}"), report);
            }
        }
        None if managed.stop <= drain => managed.stop = drain + STOP_MARGIN,
        None => {}
    }
}

fn exit_codes(entry: &Entry, report: &mut Report) -> Vec<i32> {
    let items = entry.items("[0, 3]", report).into_iter();
    let code = |item: Entry| {
        let code = item.integer(report)?;
        if !EXIT_CODES.contains(&code) {
            item.wrong(format!("must be between 0 and 255, not {code}"), report);
        }
        i32::try_from(code).ok()
    };
    items.filter_map(code).collect()
}
