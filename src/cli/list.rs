//! `corelane list`: the apps, a row each.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Color, ContentArrangement, Table};

use super::answer;
use super::args::Output;
use super::connect;
use super::exit::Failure;
use crate::control::{AppReport, Client, Code, Overview, Status};

const COLUMNS: [&str; 11] = [
    "id",
    "name",
    "pid",
    "uptime",
    "restarts",
    "status",
    "workers",
    "cpu",
    "mem",
    "connections",
    "req/s",
];

pub(super) fn list(workers: bool, output: Output) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    if output.json {
        answer::json(&client.get::<Overview>("/v1/apps")?)?;
    } else {
        print(&client, workers)?;
    }
    Ok(answer::exit(Code::Done))
}

/// Prints the apps, and on stderr what is the matter with them.
pub(super) fn print(client: &Client, workers: bool) -> Result<(), Failure> {
    let overview: Overview = client.get("/v1/apps")?;
    answer::print(&format!("{}\n", table(&overview.apps, workers)))?;
    for problem in &overview.manager.problems {
        answer::say(&format!("warning: {problem}"));
    }
    for app in &overview.apps {
        if let Some(problem) = &app.problem {
            answer::say(&format!("{}: {problem}", app.name));
        }
    }
    Ok(())
}

fn table(apps: &[AppReport], workers: bool) -> Table {
    let colourful = colourful();
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(COLUMNS);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for app in apps {
        let status = Cell::new(app.status);
        let status = if colourful { status.fg(colour(app.status)) } else { status };
        table.add_row([
            Cell::new(app.id),
            Cell::new(&app.name),
            Cell::new(app.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())),
            Cell::new(app.uptime_ms.map_or_else(|| "-".to_owned(), uptime)),
            Cell::new(app.restarts),
            status,
            Cell::new(workers_of(app)),
            Cell::new(format!("{:.1}%", app.cpu_percent)),
            Cell::new(size(app.memory_bytes)),
            Cell::new(app.connections),
            Cell::new(format!("{:.0}", app.requests_per_second)),
        ]);
        for worker in app.workers.iter().filter(|_| workers) {
            table.add_row([
                Cell::new(""),
                Cell::new(format!("  worker {}", worker.worker)),
                Cell::new(""),
                Cell::new(""),
                Cell::new(worker.restarts),
                Cell::new(&worker.state),
                Cell::new(format!("CPU {}", worker.cpu)),
                Cell::new(""),
                Cell::new(""),
                Cell::new(worker.connections),
                Cell::new(format!("{:.0}", worker.requests_per_second)),
            ]);
        }
    }
    table
}

/// How many there are, and what was asked for if that is more than a number.
fn workers_of(app: &AppReport) -> String {
    let count = if app.workers.is_empty() { app.pids.len() } else { app.workers.len() };
    match app.instances.parse::<u32>() {
        Ok(_) => count.to_string(),
        Err(_) => format!("{count} ({})", app.instances),
    }
}

/// Whether stdout obeys colours, and may.
pub(super) fn colourful() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

fn colour(status: Status) -> Color {
    match status {
        Status::Online => Color::Green,
        Status::Stopped => Color::DarkGrey,
        Status::Errored => Color::Red,
        _ => Color::Yellow,
    }
}

/// A time for people: its two largest units.
pub(super) fn uptime(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_for_people() {
        let cases = [(0, "0s"), (59_999, "59s"), (61_000, "1m 1s"), (3_660_000, "1h 1m")];
        for (millis, text) in cases {
            assert_eq!(uptime(millis), text);
        }
        assert_eq!(uptime(90_000_000), "1d 1h");
        assert_eq!((size(0).as_str(), size(1536).as_str()), ("0.0 KiB", "1.5 KiB"));
        assert_eq!(size(6_400_000), "6.1 MiB");
    }
}
