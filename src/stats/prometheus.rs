//! Statistics as Prometheus reads them: the text format 0.0.4.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::{ClusterStats, Latency, Statuses, WorkerFigures};

/// The edges of the histogram's buckets, in seconds and in nanoseconds.
///
/// What is within 0.8 % below an edge may be counted beyond it: a recorded cell is counted below an
/// edge only if all of it is. So no request ever seems faster than it was.
const EDGES: [(&str, u64); 12] = [
    ("0.00001", 10_000),
    ("0.00005", 50_000),
    ("0.0001", 100_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("10", 10_000_000_000),
];

/// A figure that each worker has one of.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&WorkerFigures) -> u64,
}

macro_rules! families {
    ($($kind:ident $name:ident $help:literal $value:expr;)*) => {
        &[$(Family {
            name: concat!("corelane_", stringify!($name)),
            kind: stringify!($kind),
            help: $help,
            value: $value,
        },)*]
    };
}

const FAMILIES: &[Family] = families! {
    gauge worker_up "Whether the worker answers requests." |w| w.state.is_up().into();
    counter worker_restarts_total "Starts after an end that nobody had asked for." |w| w.restarts;
    gauge connections "Connections open now." |w| w.figures.connections;
    counter connections_accepted_total "Connections accepted." |w| w.figures.accepted;
    counter connections_overloaded_total "Connections answered 503, because there were too many."
        |w| w.figures.overloaded;
    counter connections_handed_off_total "Fresh connections given to a worker that had fewer."
        |w| w.figures.handed_off;
    counter accept_failures_total "Accepts that failed and were tried again later."
        |w| w.figures.accept_failures;
    counter requests_total "Requests whose head was read." |w| w.figures.requests;
    counter requests_refused_total "Requests refused before any handler saw them."
        |w| w.figures.refused;
    counter handler_panics_total "Handlers that panicked." |w| w.figures.panics;
    counter received_bytes_total "Bytes received from clients." |w| w.figures.bytes_received;
    counter sent_bytes_total "Bytes sent to clients." |w| w.figures.bytes_sent;
    counter parks_total "How often the worker fell asleep." |w| w.figures.parks;
    counter buffer_shortages_total "How often the kernel ran out of receive buffers."
        |w| w.figures.shortages;
};

/// All that is known of the workers of `app`.
pub(super) fn encode(app: &str, stats: &ClusterStats) -> String {
    let mut text = Text { out: String::new(), app: Escaped(app).to_string() };
    text.info(stats);
    for Family { name, kind, help, value } in FAMILIES {
        text.family(name, kind, help);
        for worker in &stats.workers {
            text.sample(name, worker, &[], value(worker));
        }
    }
    text.responses(stats);
    text.durations(stats);
    text.out
}

struct Text {
    out: String,
    app: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(
        &mut self,
        name: &str,
        worker: &WorkerFigures,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        let number = worker.worker;
        let app = std::mem::take(&mut self.app);
        self.put(format_args!("{name}{{app=\"{app}\",worker=\"{number}\""));
        self.app = app;
        for (label, text) in labels {
            self.put(format_args!(",{label}=\"{}\"", Escaped(text)));
        }
        self.put(format_args!("}} {value}\n"));
    }

    fn info(&mut self, stats: &ClusterStats) {
        let name = "corelane_worker_info";
        self.family(name, "gauge", "The CPU that the worker is pinned to.");
        for worker in &stats.workers {
            self.sample(name, worker, &[("cpu", &worker.cpu.to_string())], 1);
        }
    }

    fn responses(&mut self, stats: &ClusterStats) {
        let name = "corelane_responses_total";
        self.family(name, "counter", "Answers by the class of their status.");
        for worker in &stats.workers {
            let Statuses { informational, success, redirection, client_error, server_error } =
                worker.figures.statuses;
            let classes = [
                ("1xx", informational),
                ("2xx", success),
                ("3xx", redirection),
                ("4xx", client_error),
                ("5xx", server_error),
            ];
            for (class, count) in classes {
                self.sample(name, worker, &[("class", class)], count);
            }
        }
    }

    fn durations(&mut self, stats: &ClusterStats) {
        let name = "corelane_request_duration_seconds";
        let help = "From a request's first bytes until the kernel had taken all of its answer.";
        self.family(name, "histogram", help);
        for worker in &stats.workers {
            self.histogram(name, worker, &worker.figures.latency);
        }
    }

    fn histogram(&mut self, name: &str, worker: &WorkerFigures, latency: &Latency) {
        let bucket = format!("{name}_bucket");
        for (edge, nanos) in EDGES {
            let count = latency.count_within(Duration::from_nanos(nanos));
            self.sample(&bucket, worker, &[("le", edge)], count);
        }
        self.sample(&bucket, worker, &[("le", "+Inf")], latency.count());
        let sum = latency.sum();
        let seconds = format_args!("{}.{:09}", sum.as_secs(), sum.subsec_nanos()).to_string();
        self.sample(&format!("{name}_sum"), worker, &[], seconds);
        self.sample(&format!("{name}_count"), worker, &[], latency.count());
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("invariant: a string takes everything");
    }
}

/// A label's value, as it stands between quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{Figures, WorkerState, WorkerStats};
    use super::*;

    const STRANGE: &str = "a \"name\" with \\ and\na line, {braces} = too";

    /// A name, its labels in order, and the value.
    type Sample = (String, Vec<(String, String)>, f64);

    /// Reads the format as its definition says, strictly: families are whole, declared first and
    /// once; no series occurs twice.
    fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
        let (mut kinds, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let (mut samples, mut family) = (Vec::new(), String::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family, "HELP comes first");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else {
                let sample = parse_sample(line);
                let suffixes = ["", "_bucket", "_sum", "_count"];
                let suffix = sample.0.strip_prefix(&family).expect("its family comes before it");
                assert!(suffixes.contains(&suffix), "{line}");
                assert!(seen.insert((sample.0.clone(), sample.1.clone())), "twice: {line}");
                samples.push(sample);
            }
        }
        (kinds, samples)
    }

    fn parse_sample(line: &str) -> Sample {
        let (name, mut rest) = line.split_once('{').unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
        let mut labels = Vec::new();
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next().expect("the quote ends") {
                    (at, '"') => break at + 1,
                    (_, '\\') => value.push(match letters.next().unwrap().1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((label.to_owned(), value));
            let Some(more) = after[end..].strip_prefix(',') else {
                let value = after[end..].strip_prefix("} ").expect("the labels end");
                return (name.to_owned(), labels, value.parse().unwrap());
            };
            rest = more;
        }
    }

    fn two_workers() -> ClusterStats {
        let workers = (0..2).map(|worker| {
            let counted = WorkerStats::default();
            counted.requests.add(10 + worker as u64);
            counted.statuses.count(200);
            counted.statuses.count(503);
            for micros in [20, 70, 70, 20_000, 60_000_000] {
                counted.latency.record(Duration::from_micros(micros), 1);
            }
            let state = [WorkerState::Serving, WorkerState::Stalled][worker];
            let (figures, last_exit) = (Figures::read(&counted), Some("panic: x".to_owned()));
            WorkerFigures { worker, cpu: 4, state, restarts: 0, last_exit, figures }
        });
        ClusterStats::new(workers.collect())
    }

    fn value(samples: &[Sample], name: &str, worker: &str, label: Option<(&str, &str)>) -> f64 {
        let has = |labels: &[(String, String)], (name, value): (&str, &str)| {
            labels.iter().any(|(n, v)| (n.as_str(), v.as_str()) == (name, value))
        };
        let found = samples.iter().find(|(own, labels, _)| {
            let own = own == name && has(labels, ("worker", worker));
            own && label.is_none_or(|label| has(labels, label))
        });
        found.unwrap_or_else(|| panic!("{name} {label:?} of {worker}")).2
    }

    #[test]
    fn writes_what_a_strict_reader_understands() {
        let (kinds, samples) = parse(&encode(STRANGE, &two_workers()));
        assert!(samples.iter().all(|(_, labels, _)| labels[0].1 == STRANGE));
        for (name, kind) in &kinds {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
        let value = |name: &str, worker, label| value(&samples, name, worker, label).to_string();
        assert_eq!(value("corelane_requests_total", "1", None), "11");
        assert_eq!(value("corelane_responses_total", "0", Some(("class", "5xx"))), "1");
        assert_eq!(value("corelane_worker_up", "0", None), "1");
        assert_eq!(value("corelane_worker_up", "1", None), "0");
        assert_eq!(value("corelane_worker_info", "1", Some(("cpu", "4"))), "1");
        assert_eq!(value("corelane_request_duration_seconds_sum", "0", None), "60.02016");
    }

    #[test]
    fn buckets_hold_all_that_was_as_fast() {
        let (_, samples) = parse(&encode("app", &two_workers()));
        let name = "corelane_request_duration_seconds_bucket";
        let of_first = |(own, labels, _): &&Sample| own == name && labels[1].1 == "0";
        let counts = samples.iter().filter(of_first).map(|sample| sample.2.to_string());
        let counts = counts.collect::<Vec<_>>().join(" ");
        assert_eq!(counts, "0 1 3 3 3 3 3 4 4 4 4 4 5");
        let count = value(&samples, "corelane_request_duration_seconds_count", "0", None);
        assert_eq!(count.to_string(), "5");
    }

    #[test]
    fn the_edges_are_what_they_are_called() {
        for (edge, nanos) in EDGES {
            let seconds = edge.parse::<f64>().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
    }
}
