//! The tables, and the same figures as JSON.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::idle::{FEW, Memory};
use crate::options::{Options, Workload};
use crate::rounds::{Sample, Series};
use crate::statistics::Spread;

/// One row of a table: a contender under a workload.
struct Row {
    contender: Contender,
    samples: Vec<Sample>,
    cpu: Option<Spread>,
    rate: Option<Spread>,
    /// CPU time per request, as a ratio to the floor's of the same round.
    cpu_ratio: Option<Spread>,
    /// Requests per second, likewise.
    rate_ratio: Option<Spread>,
}

/// Prints one table per workload, and writes the JSON file if asked.
pub(crate) fn rounds(options: &Options, series: &[Series]) -> Result<(), Failure> {
    let mut text = format!("{}\n", machine());
    let mut tables = Vec::new();
    for (index, &workload) in options.workloads.iter().enumerate() {
        let rows = rows(series, index);
        text += &table(options, workload, &rows);
        tables.push(json!({
            "connections": workload.connections,
            "pipeline": workload.pipeline,
            "contenders": rows.iter().map(row_json).collect::<Vec<_>>(),
        }));
    }
    publish(&text, options.json.as_deref(), || {
        json!({
            "machine": machine(),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "floor": Contender::FLOOR.name(),
            "workloads": tables,
        })
    })
}

/// Prints what idle connections keep resident, and writes the JSON file if asked.
pub(crate) fn idle(
    connections: usize,
    options: &Options,
    memories: &[Memory],
) -> Result<(), Failure> {
    let mut text = format!("{}\n\n{connections} idle connections\n", machine());
    let few = format!("KiB at {FEW}");
    let many = format!("KiB at {connections}");
    line(&mut text, &["contender", &few, &many, "bytes per connection"]);
    for memory in memories {
        let each = format!("{:.0}", memory.per_connection(connections));
        let [few, many] = [memory.few, memory.many].map(|bytes| (bytes / 1024).to_string());
        line(&mut text, &[memory.contender.name(), &few, &many, &each]);
    }
    publish(&text, options.json.as_deref(), || {
        let contenders = memories.iter().map(|memory| {
            json!({
                "name": memory.contender.name(),
                "resident_bytes_few": memory.few,
                "resident_bytes_many": memory.many,
                "bytes_per_connection": memory.per_connection(connections),
            })
        });
        json!({
            "machine": machine(),
            "connections_few": FEW,
            "connections_many": connections,
            "contenders": contenders.collect::<Vec<_>>(),
        })
    })
}

fn rows(series: &[Series], workload: usize) -> Vec<Row> {
    let floor = series
        .iter()
        .find(|one| one.contender == Contender::FLOOR)
        .map(|one| one.workloads[workload].as_slice())
        .unwrap_or_default();
    let row = |one: &Series| {
        let samples = one.workloads[workload].clone();
        let figures = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure));
        let ratios = |figure: fn(&Sample) -> f64| {
            Spread::of(samples.iter().zip(floor).map(|(one, floor)| figure(one) / figure(floor)))
        };
        Row {
            contender: one.contender,
            cpu: figures(|sample| sample.cpu),
            rate: figures(|sample| sample.rate),
            cpu_ratio: ratios(|sample| sample.cpu),
            rate_ratio: ratios(|sample| sample.rate),
            samples,
        }
    };
    series.iter().map(row).collect()
}

fn table(options: &Options, workload: Workload, rows: &[Row]) -> String {
    let connections = match workload.connections {
        1 => "1 connection".to_owned(),
        several => format!("{several} connections"),
    };
    let requests = match workload.pipeline {
        1 => "one request at a time".to_owned(),
        several => format!("{several} requests pipelined"),
    };
    let (rounds, seconds) = (options.rounds, options.seconds);
    let mut text = format!("\n{connections}, {requests}; {rounds} rounds of {seconds} s\n");
    let floor = Contender::FLOOR.name();
    let [cpu, rate] = ["CPU", "rate"].map(|what| format!("{what} / {floor}'s"));
    line(&mut text, &["contender", "µs CPU per request", "requests/s", &cpu, &rate]);
    for row in rows {
        let cells = [
            row.contender.name(),
            &cell(row.cpu, 2),
            &cell(row.rate, 0),
            &cell(row.cpu_ratio, 2),
            &cell(row.rate_ratio, 2),
        ];
        line(&mut text, &cells);
    }
    text
}

/// Appends one line of cells, the first to the left, the others to the right.
fn line(text: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        // A String takes whatever is written to it.
        let _ = match index {
            0 => write!(text, "{cell:<16}"),
            _ => write!(text, "  {cell:>24}"),
        };
    }
    text.push('\n');
}

fn cell(spread: Option<Spread>, decimals: usize) -> String {
    let Some(Spread { least, median, most }) = spread else { return "-".to_owned() };
    format!("{median:.decimals$} ({least:.decimals$} - {most:.decimals$})")
}

fn row_json(row: &Row) -> Value {
    json!({
        "name": row.contender.name(),
        "cpu_microseconds": spread_json(row.cpu),
        "requests_per_second": spread_json(row.rate),
        "cpu_ratio": spread_json(row.cpu_ratio),
        "rate_ratio": spread_json(row.rate_ratio),
        "rounds": row.samples.iter().map(|sample| json!({
            "cpu_microseconds": sample.cpu,
            "requests_per_second": sample.rate,
        })).collect::<Vec<_>>(),
    })
}

fn spread_json(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |Spread { least, median, most }| json!({ "least": least, "median": median, "most": most }),
    )
}

fn publish(
    text: &str,
    file: Option<&Path>,
    figures: impl FnOnce() -> Value,
) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).doing("printing the figures")?;
    match file {
        None => Ok(()),
        Some(file) => fs::write(file, format!("{:#}\n", figures()))
            .doing(format!("writing {}", file.display())),
    }
}

/// The kernel and the processor that the figures hold for.
fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unnamed processor", |(_, model)| model.trim());
    format!("Linux {} on {model}", kernel.trim())
}
