//! The keys of `timeouts` and `limits`, and their bounds.

use std::ops::RangeInclusive;

use super::reader::{Entry, Table};
use super::report::Report;
use super::unit::{GIB, HOUR, MIB};
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

const TIMEOUT_KEYS: &[&str] =
    &["header", "body_idle", "keep_alive", "write_idle", "drain", "idle_grace", "stall"];
const LIMIT_KEYS: &[&str] =
    &["request_line_bytes", "head_bytes", "headers", "body_bytes", "connections", "pipeline"];

/// Reads `timeouts`; a key that is not there is as in `base`.
pub(super) fn timeouts(entry: &Entry, base: &Timeouts, report: &mut Report) -> Timeouts {
    let Some(table) = entry.table(TIMEOUT_KEYS, report) else { return base.clone() };
    Timeouts {
        header: table.duration("header", WAIT, base.header, report),
        body_idle: table.duration("body_idle", WAIT, base.body_idle, report),
        keep_alive: table.duration("keep_alive", WAIT, base.keep_alive, report),
        write_idle: table.duration("write_idle", WAIT, base.write_idle, report),
        drain: table.duration("drain", GRACE, base.drain, report),
        idle_grace: table.duration("idle_grace", GRACE, base.idle_grace, report),
        stall: table.duration("stall", WAIT, base.stall, report),
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
