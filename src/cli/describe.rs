//! `corelane describe NAME`: everything about one app.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::Value;

use super::args::Output;
use super::exit::Failure;
use super::{answer, connect, list};
use crate::control::{AppReport, Code, MachineReport, Overview};

pub(super) fn describe(name: &str, secrets: bool, output: Output) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    let path = format!("/v1/apps/{}?secrets={secrets}", percent(name));
    let overview: Overview = client.get(&path)?;
    if overview.apps.is_empty() && name != "all" {
        answer::say(&format!("error: no app is called `{name}`; hint: `corelane list` lists them"));
        return Ok(answer::exit(Code::NotFound));
    }
    if output.json {
        answer::json(&overview)?;
    } else {
        for app in &overview.apps {
            answer::print(&format!("{}\n", table(app, &overview.manager.machine)))?;
            if !app.workers.is_empty() {
                answer::print(&format!("{}\n", workers(app)))?;
            }
        }
    }
    Ok(answer::exit(Code::Done))
}

fn table(app: &AppReport, machine: &MachineReport) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let absent = || "-".to_owned();
    let pids: Vec<_> = app.pids.iter().map(ToString::to_string).collect();
    let mut row = |key: &str, value: String| {
        table.add_row([key.to_owned(), value]);
    };
    row("name", format!("{} (id {})", app.name, app.id));
    row("status", app.status.to_string());
    row("kind", app.kind.clone());
    row("pid", if pids.is_empty() { absent() } else { pids.join(", ") });
    row("uptime", app.uptime_ms.map_or_else(absent, list::uptime));
    row("restarts", app.restarts.to_string());
    row("last exit", app.last_exit.clone().unwrap_or_else(absent));
    row("problem", app.problem.clone().unwrap_or_else(absent));
    row("max", in_words(machine));
    row("listens on", if app.listen.is_empty() { absent() } else { app.listen.join(", ") });
    row("cpu", format!("{:.1}%", app.cpu_percent));
    row("memory", list::size(app.memory_bytes));
    row("file", app.file.display().to_string());
    row("directory", app.cwd.display().to_string());
    row("stdout", app.logs.out.display().to_string());
    row("stderr", app.logs.err.display().to_string());
    for (key, value) in app.definition.iter().filter(|(key, _)| *key != "name") {
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        row(&format!("  {key}"), value);
    }
    table
}

/// How many workers `max` is, and why.
fn in_words(machine: &MachineReport) -> String {
    let MachineReport { cpus, workers_max: max, bounds, .. } = machine;
    let noun = if *max == 1 { "worker" } else { "workers" };
    let bounds = bounds.clone().unwrap_or_else(|| format!("all of {cpus} CPUs"));
    format!("{max} {noun}: {bounds}")
}

fn workers(app: &AppReport) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "worker",
        "cpu",
        "state",
        "restarts",
        "connections",
        "requests",
        "req/s",
        "p50",
        "p99",
        "errors",
        "panics",
    ]);
    for worker in &app.workers {
        table.add_row([
            worker.worker.to_string(),
            worker.cpu.to_string(),
            worker.state.clone(),
            worker.restarts.to_string(),
            worker.connections.to_string(),
            worker.requests.to_string(),
            format!("{:.0}", worker.requests_per_second),
            format!("{} us", worker.latency_p50_us),
            format!("{} us", worker.latency_p99_us),
            worker.server_errors.to_string(),
            worker.panics.to_string(),
        ]);
    }
    table
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
