//! The machine that the figures hold for, and the versions of all that took part.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::contender::Contender;
use crate::results::Machine;
use crate::root;
use crate::workshop::Shop;

/// This package's lock file, where the versions of the Rust contenders are.
const LOCK: &str = include_str!("../Cargo.lock");
const EXPRESS_LOCK: &str = include_str!("../node/package-lock.json");

/// Looks around.
pub(crate) fn look(shop: &Shop) -> Machine {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let mut models =
        cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let kibibytes = memory.split_ascii_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
    Machine {
        date: httpdate::fmt_http_date(SystemTime::now()),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        processor: models
            .next()
            .map_or("an unnamed processor", |(_, model)| model.trim())
            .to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        memory_bytes: kibibytes.unwrap_or(0) * 1024,
        versions: versions(shop),
    }
}

fn versions(shop: &Shop) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut add = |name: &str, version: Option<String>| {
        versions.insert(name.to_owned(), version.unwrap_or_else(|| "unknown".to_owned()));
    };
    add("rustc", said("rustc", &["--version"]).map(|it| it.replace("rustc ", "")));
    let commit = said("git", &["-C", &root().to_string_lossy(), "describe", "--always", "--dirty"]);
    let corelane = locked("corelane").unwrap_or_default();
    add("corelane", commit.map(|commit| format!("{corelane} ({commit})")));
    for contender in shop.contenders() {
        match contender {
            Contender::Uring | Contender::Epoll => add("httparse", locked("httparse")),
            Contender::CorelaneConfig | Contender::CorelaneLibrary => {}
            Contender::MayMinihttp => add("may_minihttp", locked("may_minihttp")),
            Contender::Axum => {
                add("axum", locked("axum"));
                add("tokio", locked("tokio"));
            }
            Contender::Nginx => {
                let program = shop.program(contender).to_string_lossy();
                let version = said(&program, &["-v"]);
                add("nginx", version.map(|it| it.replace("nginx version: nginx/", "")));
            }
            Contender::Node => add("node", said("node", &["--version"])),
            Contender::Express => add("express", express()),
            other => add(other.name(), locked(other.name())),
        }
    }
    versions
}

/// The version of a crate in the lock file; the newest, if there are several.
fn locked(name: &str) -> Option<String> {
    let mut lines = LOCK.lines();
    let mut version = None;
    while lines.any(|line| line == format!("name = \"{name}\"")) {
        version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"').map(str::to_owned);
    }
    version
}

fn express() -> Option<String> {
    let lock: serde_json::Value = serde_json::from_str(EXPRESS_LOCK).ok()?;
    Some(lock["packages"]["node_modules/express"]["version"].as_str()?.to_owned())
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&said).lines().next()?.trim().to_owned())
}
