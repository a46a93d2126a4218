//! Two servers in turn: what the figures of one are to those of the other.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::ratio::{self, Ratio};
use super::report::{Settings, Span, rate, time};
use super::{Figures, Plan};

/// The runs of two servers, round by round. Each ratio is a figure of `a` over that of `b` in the
/// same round: 1.00 is equal.
#[derive(Debug, Serialize)]
pub(crate) struct Versus {
    rounds: usize,
    a: Vec<Figures>,
    b: Vec<Figures>,
    ratios: Ratios,
}

#[derive(Debug, Serialize)]
struct Ratios {
    requests_per_second: Option<Compared>,
    latency_p50: Option<Compared>,
    latency_p99: Option<Compared>,
    cpu_per_request: Option<Compared>,
}

#[derive(Debug, Serialize)]
struct Compared {
    median: f64,
    mean: f64,
    low: f64,
    high: f64,
    beyond_noise: bool,
}

/// Writes a figure for people.
type Show = fn(f64) -> String;

/// Takes a figure out of a run, if there is one.
type Pick = fn(&Figures) -> Option<f64>;

const REQUESTS: Pick = |run| Some(run.requests_per_second);
const P50: Pick = |run| run.latency_microseconds.as_ref().map(|latency| latency.p50);
const P99: Pick = |run| run.latency_microseconds.as_ref().map(|latency| latency.p99);
const CPU: Pick = |run| run.server.as_ref()?.cpu_microseconds_per_request;

impl Versus {
    /// Compares the runs of each round: those of the server in question, and of the other.
    pub(crate) fn of(rounds: Vec<(Figures, Figures)>) -> Self {
        let (a, b): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let compare = |pick: Pick| {
            let pairs = a.iter().zip(&b).map(|(a, b)| Some((pick(a)?, pick(b)?)));
            let ratio = Ratio::of(&pairs.collect::<Option<Vec<_>>>()?).ok()?;
            let Ratio { median, mean, low, high } = ratio;
            Some(Compared { median, mean, low, high, beyond_noise: ratio.beyond_noise() })
        };
        let ratios = Ratios {
            requests_per_second: compare(REQUESTS),
            latency_p50: compare(P50),
            latency_p99: compare(P99),
            cpu_per_request: compare(CPU),
        };
        Self { rounds: a.len(), a, b, ratios }
    }

    /// The same for people; it takes the plan of either side.
    pub(crate) fn report<'a>(&'a self, plan: &'a Plan) -> impl Display + 'a {
        Report { versus: self, plan }
    }
}

struct Report<'a> {
    versus: &'a Versus,
    plan: &'a Plan,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { versus, plan } = self;
        let Versus { rounds, a, b, ratios } = versus;
        for (name, runs) in [("a", a), ("b", b)] {
            if let Some(run) = runs.first() {
                writeln!(f, "{name}  {} {}", run.method, run.target)?;
            }
        }
        let plural = if *rounds == 1 { "" } else { "s" };
        writeln!(f, "{}, {rounds} round{plural} of {}\n", Settings(plan), Span(plan))?;
        let interval = "95 % interval";
        writeln!(f, "{:17}{:>10}{:>10}{:>8}   {interval}", "median", "a", "b", "a / b")?;
        let rows: [(_, Pick, Show, _); 4] = [
            ("requests/s", REQUESTS, rate, &ratios.requests_per_second),
            ("latency p50", P50, time, &ratios.latency_p50),
            ("latency p99", P99, time, &ratios.latency_p99),
            ("CPU per request", CPU, time, &ratios.cpu_per_request),
        ];
        for (name, pick, show, ratio) in rows {
            let [of_a, of_b] = [a, b].map(|runs| typical(runs, pick).map(show));
            if of_a.is_some() || of_b.is_some() {
                let [of_a, of_b] = [of_a, of_b].map(|figure| figure.unwrap_or("-".to_owned()));
                write!(f, "{name:17}{of_a:>10}{of_b:>10}")?;
                verdict(f, ratio.as_ref())?;
            }
        }
        warnings(f, versus)
    }
}

fn verdict(f: &mut Formatter<'_>, ratio: Option<&Compared>) -> fmt::Result {
    let Some(Compared { median, low, high, beyond_noise, .. }) = ratio else {
        return writeln!(f, "{:>8}", "-");
    };
    let verdict = if *beyond_noise { "beyond the noise" } else { "within the noise" };
    writeln!(f, "{median:8.2}   {low:.2} to {high:.2}, {verdict}")
}

/// The median of a figure over the rounds, if each has one.
fn typical(runs: &[Figures], pick: Pick) -> Option<f64> {
    ratio::median(&mut runs.iter().map(pick).collect::<Option<Vec<_>>>()?)
}

fn warnings(f: &mut Formatter<'_>, versus: &Versus) -> fmt::Result {
    if versus.rounds < 2 {
        writeln!(f, "\nwarning: a ratio takes at least two rounds")?;
    }
    for (name, runs) in [("a", &versus.a), ("b", &versus.b)] {
        let errors: u64 = runs.iter().map(|run| run.errors.total()).sum();
        if errors > 0 {
            writeln!(f, "\nwarning: {errors} requests to {name} failed; --json tells how")?;
        }
        let saturated = runs.iter().filter(|run| run.generator.saturated).count();
        if saturated > 0 {
            let rounds = runs.len();
            writeln!(
                f,
                "\nwarning: the load generator was at its limit against {name} in {saturated} of \
                 {rounds} rounds: the server may be faster\nhint: give it more --threads, or a \
                 lower --rate if there is one"
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::{Outcome, Used, sample};
    use super::*;

    /// A run that took so long for the sample's thousand requests, and so much of the server.
    fn run(target: &str, milliseconds: u64, cpu: Option<u64>) -> Figures {
        let elapsed = Duration::from_millis(milliseconds);
        let outcome = Outcome { elapsed, ..sample::outcome() };
        let used =
            cpu.map(|cpu| Used { pid: 7, cpu: Duration::from_millis(cpu), peak_memory: 4096 });
        Figures::of(("GET", target), &sample::plan(), &outcome, used)
    }

    fn versus(rounds: &[(u64, u64)], cpu: Option<u64>) -> Versus {
        let pair = |(a, b): &(u64, u64)| {
            (run("http://a/", *a, cpu), run("http://b/", *b, cpu.map(|cpu| 2 * cpu)))
        };
        Versus::of(rounds.iter().map(pair).collect())
    }

    #[test]
    fn ratios_are_those_of_the_first_over_the_second() {
        let found = versus(&[(1_000, 2_000), (1_500, 3_000)], Some(5));
        let found = serde_json::to_value(found).unwrap();
        assert_eq!(found["rounds"], json!(2));
        assert_eq!(found["a"][1]["target"], json!("http://a/"));
        assert_eq!(found["b"][0]["requests_per_second"], json!(500.0));
        let ratios = &found["ratios"];
        for (key, expected, beyond) in [
            ("requests_per_second", 2.0, true),
            ("latency_p50", 1.0, false),
            ("latency_p99", 1.0, false),
            ("cpu_per_request", 0.5, true),
        ] {
            for part in ["median", "mean", "low", "high"] {
                let found = ratios[key][part].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-9, "{key} {part}: {found}");
            }
            assert_eq!(ratios[key]["beyond_noise"], json!(beyond), "{key}");
        }
    }

    #[test]
    fn the_report_names_both_and_what_is_certain() {
        let versus = versus(&[(2_000, 4_000), (3_000, 6_000)], Some(5));
        let text = versus.report(&sample::plan()).to_string();
        let expected = "\
a  GET http://a/
b  GET http://b/
64 connections, 1 thread, 2 rounds of 2s after 1s of warm-up

median                    a         b   a / b   95 % interval
requests/s              417       208    2.00   2.00 to 2.00, beyond the noise
latency p50          500 µs    500 µs    1.00   1.00 to 1.00, within the noise
latency p99          990 µs    990 µs    1.00   1.00 to 1.00, within the noise
CPU per request     5.00 µs   10.0 µs    0.50   0.50 to 0.50, beyond the noise
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_cannot_be_compared_is_left_out() {
        let lone = versus(&[(1_000, 2_000)], None);
        let text = lone.report(&sample::plan()).to_string();
        assert!(text.contains("warning: a ratio takes at least two rounds"), "{text}");
        assert!(!text.contains("CPU") && !text.contains("noise"), "{text}");
        let found = serde_json::to_value(lone).unwrap();
        assert_eq!(found["ratios"]["requests_per_second"], Value::Null);
        let found = serde_json::to_value(versus(&[(1, 2), (1, 2)], None)).unwrap();
        assert_eq!(found["ratios"]["cpu_per_request"], Value::Null);
    }

    #[test]
    fn errors_and_a_generator_at_its_limit_are_told() {
        let mut bad = run("http://b/", 2_000, None);
        bad.errors.reset = 3;
        bad.generator.saturated = true;
        let good = || run("http://a/", 2_000, None);
        let versus = Versus::of(vec![(good(), bad), (good(), good())]);
        let text = versus.report(&sample::plan()).to_string();
        assert!(text.contains("warning: 3 requests to b failed"), "{text}");
        assert!(text.contains("at its limit against b in 1 of 2 rounds"), "{text}");
        assert!(!text.contains("requests to a"), "{text}");
    }
}
