//! What the apps count, as one text for Prometheus.
//!
//! A process counts from 0, and an app has one after another, and two while it is reloaded. What is
//! counted is the app's: the sum over all that it has had under this manager, so that it never
//! falls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::app::App;
use crate::control::Status;

/// What an app has counted, or a process of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    families: BTreeMap<String, Family>,
}

#[derive(Clone, Debug, Default)]
struct Family {
    /// What explains it.
    comments: Vec<String>,
    gauge: bool,
    /// In the order in which they came.
    samples: Vec<(String, Number)>,
    places: BTreeMap<String, usize>,
}

/// A sample's value; whole ones stay exact.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(u64),
    Real(f64),
}

impl Counts {
    /// Adds what a process of this app says: what it counts, and how things are with it, if it is
    /// one of those that serve.
    pub(super) fn add(&mut self, app: &str, text: &str, serves: bool) {
        let mut name = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                name = rest.split(' ').next().unwrap_or_default();
            }
            let family = self.families.entry(name.to_owned()).or_default();
            if line.starts_with('#') {
                family.gauge |= line.starts_with("# TYPE ") && line.ends_with(" gauge");
                if !family.comments.iter().any(|comment| comment == line) {
                    family.comments.push(line.to_owned());
                }
            } else if let Some((series, number)) = line.rsplit_once(' ')
                && let Some(number) = Number::parse(number)
                && (serves || !family.gauge)
            {
                family.add(&owned(app, series), number);
            }
        }
    }
}

/// A program calls itself, and each of its clusters, what it likes: the app is what the manager
/// calls it.
fn owned(app: &str, series: &str) -> String {
    match series.split_once("{app=\"") {
        Some((name, own)) if own.split('"').next() != Some(app) => {
            format!("{name}{{app=\"{app}\",cluster=\"{own}")
        }
        _ => series.to_owned(),
    }
}

impl Family {
    fn add(&mut self, series: &str, number: Number) {
        if let Some(at) = self.places.get(series) {
            let (_, sum) = &mut self.samples[*at];
            *sum = sum.plus(number);
        } else {
            self.places.insert(series.to_owned(), self.samples.len());
            self.samples.push((series.to_owned(), number));
        }
    }
}

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let whole = text.parse().map(Self::Whole);
        whole.or_else(|_| text.parse().map(Self::Real)).ok()
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Self::Whole(one.saturating_add(other)),
            (one, other) => Self::Real(one.real() + other.real()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds are not exact anyway")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

/// Puts the counts of several apps together, each family once, after what the manager itself knows
/// of them.
pub(super) fn merge<'a>(counts: &[Counts], apps: impl Iterator<Item = &'a App>) -> String {
    let mut merged = of_apps(apps);
    let mut families: BTreeMap<&str, Vec<&Family>> = BTreeMap::new();
    for (name, family) in counts.iter().flat_map(|counts| &counts.families) {
        families.entry(name).or_default().push(family);
    }
    for of_all in families.values() {
        for comment in of_all.first().map(|first| &first.comments).into_iter().flatten() {
            let _ = writeln!(merged, "{comment}");
        }
        for (series, number) in of_all.iter().flat_map(|family| &family.samples) {
            let _ = match number {
                Number::Whole(whole) => writeln!(merged, "{series} {whole}"),
                Number::Real(real) => writeln!(merged, "{series} {real}"),
            };
        }
    }
    merged
}

/// Whether the apps are online, and how often they were started again.
fn of_apps<'a>(apps: impl Iterator<Item = &'a App>) -> String {
    let apps: Vec<_> = apps.collect();
    let mut text = String::new();
    text.push_str("# HELP corelane_app_up Whether the app is online.\n");
    text.push_str("# TYPE corelane_app_up gauge\n");
    for app in &apps {
        let up = matches!(app.status(), Status::Online | Status::Reloading);
        // A name has nothing in it that would have to be escaped.
        let _ = writeln!(text, "corelane_app_up{{app=\"{}\"}} {}", app.spec().name, u8::from(up));
    }
    text.push_str("# HELP corelane_app_restarts_total Restarts of the app's process.\n");
    text.push_str("# TYPE corelane_app_restarts_total counter\n");
    for app in &apps {
        let (name, restarts) = (&app.spec().name, app.restarts());
        let _ = writeln!(text, "corelane_app_restarts_total{{app=\"{name}\"}} {restarts}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_explained_once() {
        let text = |app| {
            format!(
                "# HELP a The a.\n# TYPE a counter\na{{app=\"{app}\"}} 1\n\
                 # HELP b The b.\n# TYPE b gauge\nb{{app=\"{app}\"}} 2\n"
            )
        };
        let counts = ["x", "y"].map(|app| {
            let mut counts = Counts::default();
            counts.add(app, &text(app), true);
            counts
        });
        let merged = merge(&counts, std::iter::empty());
        let (_, programs) = merged.split_at(merged.find("# HELP a ").unwrap());
        let expected = "# HELP a The a.\n# TYPE a counter\na{app=\"x\"} 1\na{app=\"y\"} 1\n\
             # HELP b The b.\n# TYPE b gauge\nb{app=\"x\"} 2\nb{app=\"y\"} 2\n";
        assert_eq!(programs, expected);
    }

    #[test]
    fn what_is_counted_is_the_sum_and_how_things_are_is_what_serves() {
        let text = |count, seconds, connections| {
            format!(
                "# HELP a The a.\n# TYPE a counter\na 18446744073709551{count}\n\
                 # HELP h The h.\n# TYPE h histogram\nh_bucket{{le=\"0.1\"}} {count}\n\
                 h_bucket{{le=\"+Inf\"}} {count}\nh_sum {seconds}\nh_count {count}\n\
                 # HELP c The c.\n# TYPE c gauge\nc {connections}\n"
            )
        };
        let mut counts = Counts::default();
        counts.add("x", &text(100, "0.250000000", 7), false);
        counts.add("x", &text(200, "0.500000000", 3), true);
        let merged = merge(&[counts], std::iter::empty());
        let (_, programs) = merged.split_at(merged.find("# HELP a ").unwrap());
        let expected = "# HELP a The a.\n# TYPE a counter\na 36893488147419102300\n\
             # HELP c The c.\n# TYPE c gauge\nc 3\n\
             # HELP h The h.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 300\n\
             h_bucket{le=\"+Inf\"} 300\nh_sum 0.75\nh_count 300\n";
        assert_eq!(programs, expected.replace("36893488147419102300", &u64::MAX.to_string()));
    }

    #[test]
    fn an_app_is_called_as_the_manager_calls_it() {
        let cases = [
            ("a{app=\"x\",worker=\"0\"}", "a{app=\"x\",worker=\"0\"}"),
            ("a{app=\"xy\"}", "a{app=\"x\",cluster=\"xy\"}"),
            ("a{app=\"\"}", "a{app=\"x\",cluster=\"\"}"),
            ("a{app=\"q\\\"\"}", "a{app=\"x\",cluster=\"q\\\"\"}"),
            ("a", "a"),
        ];
        for (said, shown) in cases {
            assert_eq!(owned("x", said), shown);
        }
    }
}
