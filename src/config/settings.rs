//! The keys of `timeouts`, `limits` and `restart`, and their bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Entry, Table};
use super::report::Report;
use super::unit::{DURATION, GIB, HOUR, MIB};
use crate::restart::{Restart, When};
use crate::server::{Limits, Timeouts};

const TIMEOUT_MAX: u64 = 24 * HOUR;
/// A wait that must last, in milliseconds.
const WAIT: RangeInclusive<u64> = 1..=TIMEOUT_MAX;
/// A wait that may be left out, in milliseconds.
const GRACE: RangeInclusive<u64> = 0..=TIMEOUT_MAX;

/// In bytes; `GET / HTTP/1.1` has 14.
const REQUEST_LINE_BYTES: RangeInclusive<u64> = 16..=MIB;
/// In bytes.
const HEAD_BYTES: RangeInclusive<u64> = 64..=MIB;
const HEADERS: RangeInclusive<usize> = 1..=1024;
/// In bytes; 0 allows no body at all.
const BODY_BYTES: RangeInclusive<u64> = 0..=1024 * GIB;
/// As many as a process can have files open, unless `fs.nr_open` is raised.
const CONNECTIONS: RangeInclusive<usize> = 1..=1 << 20;
const PIPELINE: RangeInclusive<usize> = 1..=1024;

/// In milliseconds; 0 restarts at once.
const BACKOFF: RangeInclusive<u64> = 0..=HOUR;
/// Each is remembered, per worker, for as long as it counts.
const RESTARTS: RangeInclusive<u32> = 0..=1000;
const STALLED: RangeInclusive<u32> = 0..=1024;

const TIMEOUT_KEYS: &[&str] = &[
    "header",
    "body_idle",
    "keep_alive",
    "write_idle",
    "drain",
    "idle_grace",
    "stall",
    "ready",
    "stop",
];
const LIMIT_KEYS: &[&str] =
    &["request_line_bytes", "head_bytes", "headers", "body_bytes", "connections", "pipeline"];
const RESTART_KEYS: &[&str] = &[
    "policy",
    "backoff",
    "backoff_max",
    "max_restarts",
    "within",
    "stalled_max",
    "min_uptime",
    "stop_exit_codes",
];
const POLICIES: &[(&str, When)] =
    &[("always", When::Always), ("on-failure", When::OnFailure), ("never", When::Never)];

/// Reads `timeouts`; a key that is not there is as in `base`.
pub(super) fn timeouts(entry: &Entry, base: &Timeouts, report: &mut Report) -> Timeouts {
    let Some(table) = entry.table(TIMEOUT_KEYS, report) else { return base.clone() };
    let mut wait = |key, bounds, base| table.duration(key, bounds, report).unwrap_or(base);
    Timeouts {
        header: wait("header", WAIT, base.header),
        body_idle: wait("body_idle", WAIT, base.body_idle),
        keep_alive: wait("keep_alive", WAIT, base.keep_alive),
        write_idle: wait("write_idle", WAIT, base.write_idle),
        drain: wait("drain", GRACE, base.drain),
        idle_grace: wait("idle_grace", GRACE, base.idle_grace),
        stall: wait("stall", WAIT, base.stall),
    }
}

/// Reads `limits`; a key that is not there is as in `base`.
pub(super) fn limits(entry: &Entry, base: &Limits, report: &mut Report) -> Limits {
    let Some(table) = entry.table(LIMIT_KEYS, report) else { return base.clone() };
    let head_bytes = table.size("head_bytes", HEAD_BYTES, report).unwrap_or(base.head_bytes);
    Limits {
        request_line_bytes: request_line(&table, head_bytes, base, report),
        head_bytes,
        headers: table.count("headers", HEADERS, base.headers, report),
        body_bytes: table.size("body_bytes", BODY_BYTES, report).unwrap_or(base.body_bytes),
        connections: table.count("connections", CONNECTIONS, base.connections, report),
        pipeline: table.count("pipeline", PIPELINE, base.pipeline, report),
    }
}

/// The request line is part of the head: one that is set must fit, one that is not follows.
fn request_line(table: &Table, head_bytes: usize, base: &Limits, report: &mut Report) -> usize {
    let key = "request_line_bytes";
    let line: Option<usize> = table.size(key, REQUEST_LINE_BYTES, report);
    if let (Some(entry), Some(line)) = (table.get(key), line)
        && line > head_bytes
    {
        entry.wrong(format!("must not exceed `head_bytes`, which is {head_bytes}B"), report);
    }
    line.unwrap_or(base.request_line_bytes).min(head_bytes)
}

/// Reads `restart`; a key that is not there is as in `base`.
pub(super) fn restart(entry: &Entry, base: &Restart, report: &mut Report) -> Restart {
    let Some(table) = entry.table(RESTART_KEYS, report) else { return base.clone() };
    let policy = table.get("policy").and_then(|entry| entry.word(POLICIES, report));
    let (backoff, backoff_max) = backoffs(&table, base, report);
    Restart {
        policy: policy.unwrap_or(base.policy),
        backoff,
        backoff_max,
        max_restarts: table.count("max_restarts", RESTARTS, base.max_restarts, report),
        within: table.duration("within", WAIT, report).unwrap_or(base.within),
        stalled_max: table.count("stalled_max", STALLED, base.stalled_max, report),
    }
}

/// The first wait and the longest: a first one that is set must fit, one that is not follows.
fn backoffs(table: &Table, base: &Restart, report: &mut Report) -> (Duration, Duration) {
    let backoff = table.duration("backoff", BACKOFF, report);
    let longest = table.duration("backoff_max", BACKOFF, report);
    // Against one that is wrong itself nothing can be said.
    let known = longest.is_some() || table.get("backoff_max").is_none();
    let longest = longest.unwrap_or(base.backoff_max);
    if let (Some(entry), Some(backoff)) = (table.get("backoff"), backoff)
        && known
        && backoff > longest
    {
        let shown = DURATION.show(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
        entry.wrong(format!("must not exceed `backoff_max`, which is {shown}"), report);
    }
    (backoff.unwrap_or(base.backoff).min(longest), longest)
}
