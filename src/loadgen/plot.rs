//! Latency by percentile, as a picture that needs nothing else: SVG.
//!
//! Each step to the right is a tenth of the requests of the step before: the rare and slow ones,
//! which are what a latency is about, get as much room as all others.

use std::fmt::{self, Display, Formatter};

use hdrhistogram::Histogram;

use super::Figures;
use super::figures::float;
use super::report::{grouped, rate, time};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 416.0;
/// Points of the line between 90 % and 99 %, and so on.
const STEPS_PER_DECADE: u32 = 40;
/// Up to 99.99999 %.
const DECADES_MAX: u32 = 7;
/// Above so many powers of ten, the marks at 2 and 5 would stand too close.
const FINE_DECADES_MAX: f64 = 4.0;
/// Letters of a title that fit into the width.
const TITLE_MAX: usize = 80;

const STYLE: &str = "
  .page { fill: #ffffff } text { fill: #24292f; font: 13px system-ui, sans-serif }
  .title { font-size: 17px; font-weight: 600 } .faint { fill: #57606a }
  .grid { stroke: #d8dee4; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
  .line { fill: none; stroke: #0969da; stroke-width: 2; stroke-linejoin: round }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .grid { stroke: #30363d } .axis { stroke: #9198a1 } .line { stroke: #58a6ff }
  }
";

/// The picture of a run, and of its latencies in nanoseconds.
pub(crate) struct Plot<'a> {
    pub figures: &'a Figures,
    pub latency: &'a Histogram<u64>,
}

/// Where a latency stands: logarithmic, between two round ones.
struct Scale {
    low: f64,
    high: f64,
}

impl Display for Plot<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { figures, latency } = self;
        let decades = decades(latency.len());
        let scale = Scale::around(latency.min(), latency.max());
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        writeln!(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{view}\" role=\"img\">")?;
        let title = format!("{} {}", figures.method, figures.target);
        writeln!(f, "<title>Latency by percentile: {}</title>", escaped(&title))?;
        writeln!(f, "<style>{STYLE}</style>")?;
        writeln!(f, "<rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>")?;
        headings(f, figures, &title)?;
        vertical_axis(f, &scale)?;
        horizontal_axis(f, decades)?;
        line(f, latency, decades, &scale)?;
        writeln!(f, "</svg>")
    }
}

fn headings(f: &mut Formatter<'_>, figures: &Figures, title: &str) -> fmt::Result {
    let mut short: String = title.chars().take(TITLE_MAX).collect();
    if short.len() < title.len() {
        short.push('…');
    }
    writeln!(f, "<text class=\"title\" x=\"{LEFT}\" y=\"34\">{}</text>", escaped(&short))?;
    let connections = grouped(figures.connections as u64);
    let speed = rate(figures.requests_per_second);
    let requests = grouped(figures.requests);
    let text = format!("{connections} connections, {speed} requests/s, {requests} requests");
    writeln!(f, "<text class=\"faint\" x=\"{LEFT}\" y=\"58\">{text}</text>")
}

fn vertical_axis(f: &mut Formatter<'_>, scale: &Scale) -> fmt::Result {
    let (x, y) = (LEFT - 10.0, TOP - 14.0);
    writeln!(f, "<text class=\"faint\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">latency</text>")?;
    for nanoseconds in scale.marks() {
        let y = scale.place(nanoseconds);
        writeln!(
            f,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            y + 4.5,
            round_time(nanoseconds),
        )?;
    }
    Ok(())
}

fn horizontal_axis(f: &mut Formatter<'_>, decades: u32) -> fmt::Result {
    let whole = (0..=decades).map(f64::from);
    // Half of the requests: a place of its own between 0 % and 90 %, if there is room.
    let half = (decades <= 5).then_some(2_f64.log10());
    for at in whole.chain(half) {
        let x = across(at, decades);
        writeln!(
            f,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 24.0,
            percent(at),
        )?;
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    writeln!(
        f,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>"
    )?;
    let text = "of the requests were as fast as this, or faster";
    writeln!(
        f,
        "<text class=\"faint\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
        BOTTOM + 48.0,
    )
}

fn line(
    f: &mut Formatter<'_>,
    latency: &Histogram<u64>,
    decades: u32,
    scale: &Scale,
) -> fmt::Result {
    f.write_str("<polyline class=\"line\" points=\"")?;
    for step in 0..=decades * STEPS_PER_DECADE {
        let at = f64::from(step) / f64::from(STEPS_PER_DECADE);
        let quantile = 1.0 - 10_f64.powf(-at);
        let y = scale.place(float(latency.value_at_quantile(quantile)));
        write!(f, "{:.1},{y:.1} ", across(at, decades))?;
    }
    writeln!(f, "\"/>")
}

/// How many times the slowest tenth is taken of what is left, until a single request is.
fn decades(requests: u64) -> u32 {
    (requests.max(1).ilog10() + 1).min(DECADES_MAX)
}

/// Where a percentile stands: `at` is 1 for 90 %, 2 for 99 %.
fn across(at: f64, decades: u32) -> f64 {
    LEFT + (RIGHT - LEFT) * at / f64::from(decades)
}

fn percent(at: f64) -> String {
    // 99.9 has one digit behind the point, 99.99 two; 0, 50, 90 and 99 have none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
    let digits = (at - 2.0).max(0.0) as usize;
    format!("{:.digits$} %", 100.0 - 10_f64.powf(2.0 - at))
}

impl Scale {
    /// The nearest round figures around the least and the most, in nanoseconds.
    fn around(least: u64, most: u64) -> Self {
        let [least, most] = [least, most].map(|figure| float(figure.max(1)));
        let rounded = |figure: f64| {
            let decade = 10_f64.powf(figure.log10().floor());
            [1.0, 2.0, 5.0, 10.0].map(|step| step * decade)
        };
        let low = rounded(least).into_iter().rfind(|mark| *mark <= least).unwrap_or(1.0);
        let high = rounded(most).into_iter().find(|mark| *mark >= most).unwrap_or(most);
        if low < high { Self { low, high } } else { Self { low, high: low * 2.0 } }
    }

    fn place(&self, nanoseconds: f64) -> f64 {
        let height = (nanoseconds / self.low).log10() / (self.high / self.low).log10();
        BOTTOM - (BOTTOM - TOP) * height.clamp(0.0, 1.0)
    }

    /// Round figures from the lowest to the highest.
    fn marks(&self) -> Vec<f64> {
        let fine = (self.high / self.low).log10() <= FINE_DECADES_MAX;
        let steps: &[f64] = if fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = (0..=20).map(|power| 10_f64.powi(power));
        let marks = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
        // A millionth more or less is how floating point errs.
        marks.filter(|mark| *mark > self.low * 0.999_999 && *mark < self.high * 1.000_001).collect()
    }
}

/// A round figure, without the digits that it does not need.
fn round_time(nanoseconds: f64) -> String {
    let text = time(nanoseconds / 1e3);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, sample};
    use super::*;

    fn draw(outcome: &Outcome, target: &str) -> String {
        let figures = Figures::of(("GET", target), &sample::plan(), outcome, None);
        Plot { figures: &figures, latency: &outcome.latency }.to_string()
    }

    /// What stands between two texts, each time.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts.map(|part| part.split(after).next().unwrap()).collect()
    }

    fn points(svg: &str) -> Vec<(f64, f64)> {
        let [points] = between(svg, "points=\"", "\"")[..] else { panic!("one line: {svg}") };
        let point = |text: &str| {
            let (x, y) = text.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        points.split_whitespace().map(point).collect()
    }

    #[test]
    fn the_line_rises_from_the_fastest_to_the_slowest() {
        let points = points(&draw(&sample::outcome(), "http://a/"));
        assert_eq!(points.len(), 4 * 40 + 1);
        assert_eq!(points[0], (LEFT, BOTTOM), "1 microsecond is the lowest mark");
        // The slowest took 1 ms, and a little in the histogram's eyes: it is below 2 ms.
        let (x, y) = points[points.len() - 1];
        assert!(x == RIGHT && y > TOP && y < f64::midpoint(TOP, BOTTOM), "{x} {y}");
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 >= pair[1].1));
    }

    #[test]
    fn the_axes_are_labelled() {
        let svg = draw(&sample::outcome(), "http://a/");
        let labels = between(&svg, "text-anchor=\"", "</text>");
        for label in ["1 µs", "2 µs", "500 µs", "2 ms", "0 %", "50 %", "90 %", "99 %", "99.99 %"]
        {
            let ending = format!(">{label}");
            assert!(labels.iter().any(|text| text.ends_with(&ending)), "{label}: {labels:?}");
        }
        assert!(svg.contains("64 connections, 500 requests/s, 1,000 requests"));
    }

    #[test]
    fn what_is_asked_for_cannot_break_the_picture() {
        let svg = draw(&sample::outcome(), "http://a/<script>?a&b");
        assert!(svg.contains("http://a/&lt;script&gt;?a&amp;b") && !svg.contains("<script"));
        let svg = draw(&sample::outcome(), &format!("http://a/{}", "x".repeat(200)));
        let [title] = between(&svg, "y=\"34\">", "</text>")[..] else { panic!("one: {svg}") };
        assert_eq!(title.chars().count(), TITLE_MAX + 1);
    }

    #[test]
    fn the_scale_has_marks_around_all_figures() {
        for (least, most, marks) in [
            (100, 100, &[100.0, 200.0][..]),
            (101, 199, &[100.0, 200.0]),
            (150, 4_000, &[100.0, 200.0, 500.0, 1e3, 2e3, 5e3]),
            (0, 0, &[1.0, 2.0]),
            (90, 9_000_000, &[100.0, 1e3, 1e4, 1e5, 1e6, 1e7]),
        ] {
            let scale = Scale::around(least, most);
            assert_eq!(scale.marks(), marks, "{least} {most}");
            let places = [scale.low, float(least.max(1)), float(most.max(1)), scale.high]
                .map(|figure| scale.place(figure));
            assert!(places.is_sorted_by(|one, other| one >= other), "{places:?}");
            assert!((places[0] - BOTTOM).abs() < 1e-6 && (places[3] - TOP).abs() < 1e-6);
        }
    }

    #[test]
    fn percentiles_have_as_many_nines_as_they_need() {
        for (at, text) in [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %")] {
            assert_eq!(percent(at), text);
        }
        assert_eq!(percent(7.0), "99.99999 %");
        assert_eq!(percent(2_f64.log10()), "50 %");
        for (requests, expected) in [(0, 1), (1, 1), (9, 1), (10, 2), (1_000, 4), (u64::MAX, 7)] {
            assert_eq!(decades(requests), expected, "{requests}");
        }
    }
}
