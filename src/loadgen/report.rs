//! A run's figures, for people.

use std::fmt::{self, Display, Formatter};

use super::figures::float;
use super::figures::{Generator, Server};
use super::{Figures, Pace, Plan, Until};

/// What each kind of error is called.
const KINDS: [(&str, &str); 6] = [
    ("connect", "could not connect"),
    ("reset", "reset or broken"),
    ("timeout", "timed out"),
    ("short", "closed before the answer was whole"),
    ("malformed", "answered with something that is not HTTP/1.x"),
    ("status", "answered with a status that is no success"),
];
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The report of one run.
pub(crate) struct Report<'a> {
    pub plan: &'a Plan,
    pub figures: &'a Figures,
    /// Whose CPU time was asked for, whether or not there is any.
    pub pid: Option<u32>,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { plan, figures, pid } = self;
        writeln!(f, "{} {}", figures.method, figures.target)?;
        writeln!(f, "{}, {}\n", Settings(plan), Span(plan))?;
        let stopped = if figures.interrupted { ", stopped early" } else { "" };
        let (requests, seconds) = (grouped(figures.requests), figures.elapsed_seconds);
        line(f, "requests/s", &rate(figures.requests_per_second))?;
        line(f, "requests", &format!("{requests} in {}{stopped}", time(seconds * 1e6)))?;
        let received = bytes(float(figures.received_bytes));
        let speed = bytes(figures.received_bytes_per_second);
        line(f, "received", &format!("{received}, {speed}/s"))?;
        line(f, "sent", &bytes(float(figures.sent_bytes)))?;
        latency(f, figures)?;
        failures(f, figures)?;
        late(f, &figures.generator)?;
        server(f, figures.server.as_ref(), *pid)?;
        warnings(f, figures)
    }
}

fn line(f: &mut Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {label:<13} {text}")
}

fn latency(f: &mut Formatter<'_>, figures: &Figures) -> fmt::Result {
    let Some(latency) = &figures.latency_microseconds else { return Ok(()) };
    writeln!(f)?;
    let rows = [
        ("min", latency.min),
        ("mean", latency.mean),
        ("p50", latency.p50),
        ("p75", latency.p75),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p99_9),
        ("p99.99", latency.p99_99),
        ("max", latency.max),
    ];
    for (at, (name, microseconds)) in rows.into_iter().enumerate() {
        let label = if at == 0 { "latency" } else { "" };
        line(f, label, &format!("{name:<6} {:>8}", time(microseconds)))?;
    }
    Ok(())
}

/// What did not go well, and what came instead; nothing if all did.
fn failures(f: &mut Formatter<'_>, figures: &Figures) -> fmt::Result {
    let total = figures.errors.total();
    let others = figures.retried + figures.unsent + figures.unanswered;
    if total > 0 || figures.statuses.len() > 1 || others > 0 {
        writeln!(f)?;
    }
    if total > 0 {
        line(f, "ERRORS", &grouped(total))?;
        for (kind, count) in figures.errors.kinds().into_iter().filter(|(_, count)| *count > 0) {
            let name = KINDS.iter().find(|(key, _)| *key == kind).map_or(kind, |(_, name)| name);
            line(f, "", &format!("{:>8} {name}", grouped(count)))?;
        }
    }
    if total > 0 || figures.statuses.len() > 1 {
        let statuses = figures.statuses.iter();
        let statuses = statuses.map(|(status, count)| format!("{status}: {}", grouped(*count)));
        let statuses = statuses.collect::<Vec<_>>().join(", ");
        line(f, "statuses", if statuses.is_empty() { "none" } else { &statuses })?;
    }
    if figures.retried > 0 {
        let why = "sent again: the connection was closed before any answer";
        line(f, "retried", &format!("{}, {why}", grouped(figures.retried)))?;
    }
    if figures.unsent > 0 {
        let why = "due and not sent: no connection was free";
        line(f, "unsent", &format!("{}, {why}", grouped(figures.unsent)))?;
    }
    if let Some(microseconds) = figures.unanswered_for_microseconds {
        let count = grouped(figures.unanswered);
        let why = format!("waiting at the end for up to {}", time(microseconds));
        line(f, "unanswered", &format!("{count}, {why}, longer than any answer took"))?;
    }
    Ok(())
}

fn late(f: &mut Formatter<'_>, generator: &Generator) -> fmt::Result {
    let Some(late) = &generator.late_microseconds else { return Ok(()) };
    let [p50, p99, max] = [late.p50, late.p99, late.max].map(time);
    writeln!(f)?;
    line(f, "sent late by", &format!("p50 {p50}, p99 {p99}, max {max}"))
}

fn server(f: &mut Formatter<'_>, server: Option<&Server>, pid: Option<u32>) -> fmt::Result {
    let Some(pid) = pid else { return Ok(()) };
    writeln!(f)?;
    let Some(server) = server else {
        let why = "it has ended, or the run was too short";
        return line(f, "server", &format!("process {pid} was not measured: {why}"));
    };
    let per_request = server.cpu_microseconds_per_request.map(time);
    let per_request = per_request.map(|time| format!(", {time} per request")).unwrap_or_default();
    let cpu = time(server.cpu_seconds * 1e6);
    line(f, "server", &format!("process {pid}: {cpu} of CPU time{per_request}"))?;
    line(f, "", &format!("{} of memory at its peak", bytes(float(server.peak_memory_bytes))))
}

fn warnings(f: &mut Formatter<'_>, figures: &Figures) -> fmt::Result {
    if figures.latency_microseconds.is_none() {
        writeln!(f, "\nwarning: no request succeeded")?;
    }
    match (&figures.generator, &figures.rate) {
        (Generator { saturated: false, .. }, _) => Ok(()),
        (generator, None) => {
            let percent = generator.busiest_thread_share * 100.0;
            writeln!(
                f,
                "\nwarning: the load generator was at its limit ({percent:.0} % of a CPU): the \
                 server may be faster\nhint: give it more --threads, or other CPUs than the server"
            )
        }
        (_, Some(_)) => writeln!(
            f,
            "\nwarning: the load generator could not keep to the rate: what it sent late is in \
             the latency\nhint: give it more --threads, or a lower --rate"
        ),
    }
}

/// How the load is made.
pub(super) struct Settings<'a>(pub &'a Plan);

impl Display for Settings<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        let plural = |count| if count == 1 { "" } else { "s" };
        let (connections, threads) = (plan.connections, plan.threads);
        write!(f, "{} connection{}, ", grouped(connections as u64), plural(connections))?;
        write!(f, "{threads} thread{}", plural(threads))?;
        if plan.pipeline > 1 {
            write!(f, ", {} requests pipelined", plan.pipeline)?;
        }
        if !plan.keep_alive {
            f.write_str(", a new connection for each request")?;
        }
        match plan.pace {
            Pace::Closed => Ok(()),
            Pace::Open { rate } => write!(f, ", {rate} requests/s to be sent"),
        }
    }
}

/// How long it is made.
pub(super) struct Span<'a>(pub &'a Plan);

impl Display for Span<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        match plan.until {
            Until::Elapsed(duration) => write!(f, "{duration:?}")?,
            Until::Requests(count) => write!(f, "{} requests", grouped(count))?,
        }
        if plan.warm_up.is_zero() {
            Ok(())
        } else {
            write!(f, " after {:?} of warm-up", plan.warm_up)
        }
    }
}

/// A time with three digits, in the unit that suits it.
pub(super) fn time(microseconds: f64) -> String {
    // What rounds up to a thousand belongs to the next unit.
    let [nano, micro, milli] = [0.9995, 999.5, 999_500.0];
    match microseconds {
        it if it < nano => format!("{:.0} ns", it * 1e3),
        it if it < micro => format!("{} µs", three_digits(it)),
        it if it < milli => format!("{} ms", three_digits(it / 1e3)),
        it => format!("{} s", three_digits(it / 1e6)),
    }
}

/// A number of bytes with three digits.
fn bytes(count: f64) -> String {
    let mut amount = count;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{amount:.0} B"),
        _ => format!("{} {}", three_digits(amount), UNITS[unit]),
    }
}

fn three_digits(number: f64) -> String {
    match number {
        it if it < 9.995 => format!("{it:.2}"),
        it if it < 99.95 => format!("{it:.1}"),
        it => format!("{it:.0}"),
    }
}

/// So many per second: whole, unless they are few.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 99.95 {
        return three_digits(per_second);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, whole")]
    grouped(per_second.round() as u64)
}

/// A number with a comma before every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::super::{Errors, Outcome, Used, sample};
    use super::*;

    fn report(plan: &Plan, outcome: &Outcome, used: Option<Used>, pid: Option<u32>) -> String {
        let figures = Figures::of(("GET", "http://127.0.0.1:3000/"), plan, outcome, used);
        Report { plan, figures: &figures, pid }.to_string()
    }

    #[test]
    fn a_run_without_errors_is_short() {
        let text = report(&sample::plan(), &sample::outcome(), None, None);
        let expected = "\
GET http://127.0.0.1:3000/
64 connections, 1 thread, 2s after 1s of warm-up

  requests/s    500
  requests      1,000 in 2.00 s
  received      3.81 MiB, 1.91 MiB/s
  sent          39.1 KiB

  latency       min     1.00 µs
                mean     501 µs
                p50      500 µs
                p75      750 µs
                p90      900 µs
                p99      990 µs
                p99.9    999 µs
                p99.99  1.00 ms
                max     1.00 ms
";
        assert_eq!(text, expected);
    }

    #[test]
    fn errors_are_told_by_kind() {
        let errors = Errors { timeout: 1_200, status: 3, ..Errors::default() };
        let statuses = [(200, 1_000), (503, 3)].into();
        let outcome = Outcome {
            errors,
            statuses,
            retried: 4,
            unsent: 5,
            unanswered: 6,
            unanswered_for: Duration::from_millis(70),
            ..sample::outcome()
        };
        let text = report(&sample::plan(), &outcome, None, None);
        let expected = "
  ERRORS        1,203
                   1,200 timed out
                       3 answered with a status that is no success
  statuses      200: 1,000, 503: 3
  retried       4, sent again: the connection was closed before any answer
  unsent        5, due and not sent: no connection was free
  unanswered    6, waiting at the end for up to 70.0 ms, longer than any answer took
";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn every_kind_of_error_has_a_name() {
        let kinds = Errors::default().kinds().map(|(kind, _)| kind);
        assert_eq!(KINDS.map(|(kind, _)| kind), kinds);
    }

    #[test]
    fn without_a_success_it_says_so() {
        let mut outcome = sample::outcome();
        outcome.latency.reset();
        outcome.statuses.clear();
        outcome.errors.connect = 2;
        outcome.interrupted = true;
        let text = report(&sample::plan(), &outcome, None, None);
        for part in [
            "requests/s    0.00\n",
            "requests      0 in 2.00 s, stopped early\n",
            "2 could not connect\n  statuses      none\n",
            "\nwarning: no request succeeded\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("latency"), "{text}");
    }

    #[test]
    fn the_generator_says_when_it_was_the_limit() {
        let busy = Outcome { cpu: vec![Duration::from_millis(1_960)], ..sample::outcome() };
        let text = report(&sample::plan(), &busy, None, None);
        assert!(text.contains("warning: the load generator was at its limit (98 % of a CPU)"));
        let mut late = Histogram::new(3).unwrap();
        late.record(2_000_000).unwrap();
        let plan = Plan { pace: Pace::Open { rate: 500.5 }, ..sample::plan() };
        let text = report(&plan, &Outcome { late: Some(late), ..busy }, None, None);
        for part in [
            "1 thread, 500.5 requests/s to be sent, 2s after",
            "\n\n  sent late by  p50 2.00 ms, p99 2.00 ms, max 2.00 ms\n",
            "warning: the load generator could not keep to the rate",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("% of a CPU"), "{text}");
    }

    #[test]
    fn the_server_is_told_of_when_asked_for() {
        let used = Used { pid: 7, cpu: Duration::from_millis(5), peak_memory: 3 << 20 };
        let text = report(&sample::plan(), &sample::outcome(), Some(used), Some(7));
        let expected = "
  server        process 7: 5.00 ms of CPU time, 5.00 µs per request
                3.00 MiB of memory at its peak
";
        assert!(text.ends_with(expected), "{text}");
        let text = report(&sample::plan(), &sample::outcome(), None, Some(7));
        let expected = "was not measured: it has ended, or the run was too short\n";
        assert!(text.ends_with(&format!("\n  server        process 7 {expected}")), "{text}");
    }

    #[test]
    fn settings_name_what_is_unusual() {
        let plan = Plan {
            connections: 1_024,
            threads: 2,
            pipeline: 16,
            keep_alive: false,
            until: Until::Requests(10_000),
            warm_up: Duration::ZERO,
            ..sample::plan()
        };
        let text = format!("{}, {}", Settings(&plan), Span(&plan));
        let expected = "1,024 connections, 2 threads, 16 requests pipelined, a new connection for \
                        each request, 10,000 requests";
        assert_eq!(text, expected);
    }

    #[test]
    fn quantities_have_three_digits_and_a_unit() {
        for (microseconds, text) in [
            (0.0, "0 ns"),
            (0.25, "250 ns"),
            (0.9999, "1.00 µs"),
            (9.996, "10.0 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (1_234.0, "1.23 ms"),
            (999_600.0, "1.00 s"),
            (65_432_100.0, "65.4 s"),
        ] {
            assert_eq!(time(microseconds), text);
        }
        for (count, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1_023.0, "1.00 KiB"),
            (1_047_552.0, "1.00 MiB"),
            (5e15, "4547 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in [(0.0, "0.00"), (12.34, "12.3"), (99.96, "100"), (41_151.7, "41,152")]
        {
            assert_eq!(rate(number), text);
        }
    }
}
