//! The charts: horizontal bars, medians with their least and most.

use std::fmt::Write as _;

use crate::contender::Contender;
use crate::results::{CPU, DEATH_MS, IDLE_BYTES, P50, P99, RATE, Results, START_MS};
use crate::statistics::Spread;

/// A chart: its file, its title, its workload and figure, and how many decimals a value has.
type Chart = (&'static str, &'static str, &'static str, &'static str, usize);

const CHARTS: [Chart; 11] = [
    ("hello-64-cpu", "hello, 64 connections: µs CPU per request", "hello-64", CPU, 2),
    ("hello-1-p50", "hello, one connection: median latency, µs", "hello-1", P50, 0),
    ("pipelined-rate", "hello, 16 pipelined: requests/s (more is better)", "pipelined", RATE, 0),
    ("new-connection-cpu", "a connection per request: µs CPU", "new-connection", CPU, 1),
    ("json-1k-cpu", "200 routes, 1 KiB of JSON: µs CPU per request", "json-1k", CPU, 2),
    ("json-10k-cpu", "200 routes, 10 KiB of JSON: µs CPU per request", "json-10k", CPU, 2),
    ("echo-64k-cpu", "POST echo, 64 KiB: µs CPU per request", "echo-64k", CPU, 1),
    ("rate-50-p99", "p99 at 50 % of the slowest framework's peak, µs", "rate-50", P99, 0),
    ("idle-bytes", "resident bytes per idle connection at 10,000", "idle", IDLE_BYTES, 0),
    ("start-ms", "process start to first answer, ms", "start", START_MS, 1),
    ("death-ms", "a worker's death to the next answer, ms", "death", DEATH_MS, 2),
];

const WIDTH: f64 = 720.0;
const NAMES: f64 = 140.0;
const VALUES: f64 = 90.0;
const BARS: f64 = WIDTH - NAMES - VALUES;
const TOP: f64 = 40.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
/// A bar that would be longer than this many times the median of all is cut, and says so.
const CUT: f64 = 4.0;

/// Every chart that there are figures for, by the name of its file.
pub(super) fn all(results: &Results) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    for (name, title, workload, figure, decimals) in CHARTS {
        let bar = |it: Contender| Some((it, results.spread(workload, it, figure)?));
        let mut bars: Vec<_> = Contender::ALL.into_iter().filter_map(bar).collect();
        bars.sort_by(|one, other| one.1.median.total_cmp(&other.1.median));
        if figure == RATE {
            bars.reverse();
        }
        if !bars.is_empty() {
            charts.push((format!("{name}.svg"), svg(title, &bars, decimals)));
        }
    }
    charts
}

fn svg(title: &str, bars: &[(Contender, Spread)], decimals: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a dozen")]
    let height = TOP + ROW * bars.len() as f64 + 8.0;
    let middle = Spread::of(bars.iter().map(|(_, it)| it.median)).map_or(1.0, |it| it.median);
    let longest = bars.iter().map(|(_, it)| it.most).fold(0.0, f64::max);
    let scale = longest.min(middle * CUT).max(f64::MIN_POSITIVE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n"
    );
    let mut top = TOP;
    for (contender, spread) in bars {
        svg += &bar(*contender, spread, top, scale, decimals);
        top += ROW;
    }
    svg + "</svg>\n"
}

fn bar(contender: Contender, spread: &Spread, top: f64, scale: f64, decimals: usize) -> String {
    let Spread { least, median, most } = *spread;
    let colour = match contender {
        Contender::CorelaneConfig | Contender::CorelaneLibrary => "#d9480f",
        Contender::Uring | Contender::Epoll => "#adb5bd",
        _ => "#4c6ef5",
    };
    let length = |value: f64| (value / scale).clamp(0.0, 1.0) * BARS;
    let (width, from, to) = (length(median), NAMES + length(least), NAMES + length(most));
    let (base, line) = (top + BAR - 3.0, top + BAR / 2.0);
    let cut = if median > scale { " (cut)" } else { "" };
    let (name, edge, at) = (contender.name(), NAMES - 8.0, to.max(NAMES + width) + 6.0);
    let mut text =
        format!("<text x=\"{edge}\" y=\"{base:.1}\" text-anchor=\"end\">{name}</text>\n");
    // A String takes whatever is written to it.
    let _ = write!(
        text,
        "<rect x=\"{NAMES}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" \
         fill=\"{colour}\"/>\n\
         <line x1=\"{from:.1}\" y1=\"{line:.1}\" x2=\"{to:.1}\" y2=\"{line:.1}\" \
         stroke=\"#000000\"/>\n\
         <text x=\"{at:.1}\" y=\"{base:.1}\">{median:.decimals$}{cut}</text>\n"
    );
    text
}
