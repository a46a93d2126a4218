//! The tables.

use std::fmt::Write as _;

use crate::contender::Contender;
use crate::ratio::Ratio;
use crate::report::Section;
use crate::results::{
    ASKED, BINARY, CPU, DEATH_MS, IDLE_BYTES, P50, P99, P999, RATE, RESIDENT, Results, SATURATED,
    START_MS,
};
use crate::statistics::Spread;
use crate::workload::{Kind, Load, Workload};

/// All tables, each under the name of its place.
pub(super) fn all(results: &Results) -> Vec<Section> {
    let loads = |name: &'static str, wanted: &dyn Fn(&Workload) -> bool| {
        let mut text = String::new();
        for workload in Workload::all().iter().filter(|it| wanted(it)) {
            text += &load(results, workload);
        }
        Section { name, text: or_nothing(text) }
    };
    let starts = |prefix: &'static str| move |workload: &Workload| workload.id.starts_with(prefix);
    vec![
        Section { name: "method", text: method(results) },
        Section { name: "checks", text: checks(results) },
        loads("hello", &starts("hello-")),
        loads("pipelined", &starts("pipelined")),
        loads("new-connection", &starts("new-connection")),
        loads("json", &|it| it.id.starts_with("json-") || it.id == "route"),
        loads("echo", &starts("echo-")),
        loads("store", &starts("store-")),
        loads("files", &starts("file-")),
        loads("gzip", &starts("gzip-")),
        loads("websocket", &starts("ws-")),
        loads("examples", &starts("example-")),
        Section { name: "rates", text: rates(results) },
        Section { name: "idle", text: idle(results) },
        Section { name: "start", text: start(results) },
        Section { name: "death", text: death(results) },
        Section { name: "workers", text: workers(results) },
        Section { name: "left-out", text: left_out(results) },
    ]
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "Not measured in this run.\n".to_owned() } else { text }
}

/// Rows under a head; nothing without rows.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("| {} |\n|---|{}\n", head.join(" | "), "--:|".repeat(head.len() - 1));
    for row in rows {
        // A String takes whatever is written to it.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text + "\n"
}

fn method(results: &Results) -> String {
    let machine = &results.machine;
    let gibibytes = machine.memory_bytes >> 30;
    let runs = results.methods.iter().map(|method| {
        format!(
            "```console\n$ {}\n```\n\n{} rounds of {} s each, after {} s of warm-up",
            method.command, method.rounds, method.seconds, method.warm_up_seconds,
        )
    });
    let mut text = format!(
        "Taken {} on Linux {}, {} ({} CPUs, {gibibytes} GiB), by\n\n{}. Versions: ",
        machine.date,
        machine.kernel,
        machine.processor,
        machine.cpus,
        runs.collect::<Vec<_>>().join("; and by\n\n"),
    );
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
    text += &versions.collect::<Vec<_>>().join(", ");
    let cells = results.samples.iter().filter_map(|sample| sample.figures.get(SATURATED));
    let (all, saturated) = (cells.clone().count(), cells.filter(|it| **it > 0.0).count());
    text + &format!(
        ".\n\nIn {saturated} of {all} loads the generator's own CPU was saturated: there the \
         server could have answered more requests per second (marked `*`).\n"
    )
}

fn checks(results: &Results) -> String {
    let row = |check: &crate::results::Check| {
        vec![
            check.contender.clone(),
            check.head_bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            check.right.join(", "),
        ]
    };
    let rows: Vec<_> = results.checks.iter().map(row).collect();
    or_nothing(table(&["contender", "bytes of the head", "answers as all do"], &rows))
}

/// One workload under the load generator.
fn load(results: &Results, workload: &Workload) -> String {
    if !matches!(workload.kind, Kind::Load(Load { .. }) | Kind::WebSocket { .. }) {
        return String::new();
    }
    let id = workload.id.as_str();
    let row = |contender: Contender| {
        let spread = |figure| results.spread(id, contender, figure);
        let cpu = spread(CPU)?;
        let full = spread(SATURATED).is_some_and(|it| it.median > 0.0);
        let [config, library] =
            Contender::CORELANE.map(|it| ratio(results, id, CPU, it, contender));
        Some(vec![
            contender.name().to_owned(),
            cell(Some(cpu), 2),
            format!("{}{}", cell(spread(RATE), 0), if full { "*" } else { "" }),
            middle(spread(P50), 0),
            middle(spread(P99), 0),
            ratio(results, id, CPU, contender, Contender::Uring),
            config,
            library,
        ])
    };
    let rows: Vec<_> = Contender::ALL.into_iter().filter_map(row).collect();
    let head = [
        "contender",
        "µs CPU per request",
        "requests/s",
        "p50, µs",
        "p99, µs",
        "its CPU / uring's",
        "config route's CPU / its",
        "library route's CPU / its",
    ];
    let table = table(&head, &rows);
    if table.is_empty() { table } else { format!("**{}**\n\n{table}", workload.title) }
}

fn rates(results: &Results) -> String {
    let mut text = String::new();
    for workload in Workload::all() {
        let Kind::Rate { .. } = workload.kind else { continue };
        let id = workload.id.as_str();
        let mut asked = 0.0;
        let row = |contender: Contender| {
            let spread = |figure| results.spread(id, contender, figure);
            let p99 = spread(P99)?;
            asked = spread(ASKED).map_or(asked, |it| it.median);
            let [config, library] =
                Contender::CORELANE.map(|it| ratio(results, id, P99, it, contender));
            Some(vec![
                contender.name().to_owned(),
                cell(spread(P50), 0),
                cell(Some(p99), 0),
                cell(spread(P999), 0),
                cell(spread(CPU), 2),
                config,
                library,
            ])
        };
        let rows: Vec<_> = Contender::ALL.into_iter().filter_map(row).collect();
        let head = [
            "contender",
            "p50, µs",
            "p99, µs",
            "p99.9, µs",
            "µs CPU per request",
            "config route's p99 / its",
            "library route's p99 / its",
        ];
        if !rows.is_empty() {
            let title = format!("**{}: {asked:.0} requests/s**\n\n", workload.title);
            text += &(title + &table(&head, &rows));
        }
    }
    or_nothing(text)
}

fn idle(results: &Results) -> String {
    let row = |contender: Contender| {
        let spread = |figure| results.spread("idle", contender, figure);
        let bytes = spread(IDLE_BYTES)?;
        let name = contender.name().to_owned();
        Some(vec![name, cell(Some(bytes), 0), middle(kibibytes(spread(RESIDENT)), 0)])
    };
    let rows: Vec<_> = Contender::ALL.into_iter().filter_map(row).collect();
    let head = ["contender", "bytes per idle connection", "KiB resident in all"];
    or_nothing(table(&head, &rows))
}

fn start(results: &Results) -> String {
    let row = |contender: Contender| {
        let spread = |figure| results.spread("start", contender, figure);
        Some(vec![
            contender.name().to_owned(),
            cell(Some(spread(START_MS)?), 1),
            middle(kibibytes(spread(RESIDENT)), 0),
            middle(kibibytes(spread(BINARY)), 0),
        ])
    };
    let rows: Vec<_> = Contender::ALL.into_iter().filter_map(row).collect();
    let head = ["contender", "ms to the first answer", "KiB resident then", "KiB of the program"];
    or_nothing(table(&head, &rows))
}

fn death(results: &Results) -> String {
    let row = |contender: Contender| {
        let spread = |figure| results.spread("death", contender, figure);
        let name = contender.name().to_owned();
        Some(vec![name, cell(Some(spread(DEATH_MS)?), 2), middle(spread("most_milliseconds"), 2)])
    };
    let rows: Vec<_> = Contender::ALL.into_iter().filter_map(row).collect();
    or_nothing(table(&["contender", "ms to the next answer", "most in a round"], &rows))
}

fn workers(results: &Results) -> String {
    let of = [Contender::CorelaneConfig, Contender::Uring];
    let row = |workload: Workload| {
        let id = workload.id.as_str();
        let [corelane, uring] = of.map(|it| results.spread(id, it, CPU));
        corelane.or(uring)?;
        let pairs = results.pairs(CPU, (id, of[0]), ("each-1", of[0]));
        let to_one = interval(Ratio::of(&pairs).ok());
        let to_uring = ratio(results, id, CPU, of[0], of[1]);
        Some(vec![workload.title.clone(), cell(corelane, 2), cell(uring, 2), to_uring, to_one])
    };
    let about_workers = Workload::all().into_iter().filter(Workload::is_about_workers);
    let rows: Vec<_> = about_workers.filter_map(row).collect();
    let head = [
        "workers",
        "config route, µs CPU per request",
        "uring, µs CPU per request",
        "config route / uring",
        "config route / its one worker",
    ];
    or_nothing(table(&head, &rows))
}

fn left_out(results: &Results) -> String {
    let mut text = String::new();
    for missing in &results.missing {
        let _ = writeln!(text, "* {} did not take part: {}", missing.contender, missing.why);
    }
    for failed in &results.failures {
        let (workload, round) = (&failed.workload, failed.round);
        let _ = writeln!(text, "* round {round}, {workload}: {}", failed.what.replace('\n', " "));
    }
    if text.is_empty() { "Nothing: all took part, and no cell failed.\n".to_owned() } else { text }
}

/// Median and spread.
fn cell(spread: Option<Spread>, decimals: usize) -> String {
    let Some(Spread { least, median, most }) = spread else { return "-".to_owned() };
    format!("{median:.decimals$} ({least:.decimals$} - {most:.decimals$})")
}

fn middle(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |it| format!("{:.decimals$}", it.median))
}

fn kibibytes(spread: Option<Spread>) -> Option<Spread> {
    spread.map(|Spread { least, median, most }| Spread {
        least: least / 1024.0,
        median: median / 1024.0,
        most: most / 1024.0,
    })
}

/// A figure of one over that of another, round by round.
fn ratio(results: &Results, id: &str, figure: &str, over: Contender, under: Contender) -> String {
    if over == under {
        return "-".to_owned();
    }
    interval(Ratio::of(&results.pairs(figure, (id, over), (id, under))).ok())
}

/// The middle ratio and the interval.
pub(super) fn interval(ratio: Option<Ratio>) -> String {
    let Some(Ratio { median, low, high, .. }) = ratio else { return "-".to_owned() };
    // What is small has as many digits that say something.
    let decimals = if median < 0.1 { 3 } else { 2 };
    format!("{median:.decimals$} [{low:.decimals$}, {high:.decimals$}]")
}
