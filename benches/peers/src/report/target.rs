//! What corelane is to reach beside its peers, and whether it does.

use crate::contender::Contender;
use crate::ratio::Ratio;
use crate::report::table::interval;
use crate::results::{CPU, DEATH_MS, IDLE_BYTES, P50, P99, P999, RATE, Results, START_MS};

use Contender as C;

/// The fewest pairs that an interval is judged by.
const ROUNDS_MIN: usize = 7;

/// What is asked of a ratio of corelane's figure to a peer's.
#[derive(Clone, Copy)]
enum Rule {
    /// The interval is not wholly above 1.
    NotAbove,
    /// The interval is not wholly below 1.
    NotBelow,
    /// The interval is wholly below 1.
    Below,
    /// The median ratio is at most so much.
    AtMost(f64),
    /// The median ratio is at least so much.
    AtLeast(f64),
    /// The median ratio is less than so much.
    LessThan(f64),
    /// Nothing: it is told.
    Told,
}

impl Rule {
    fn met(self, ratio: &Ratio) -> Option<bool> {
        match self {
            Rule::NotAbove => Some(ratio.low <= 1.0),
            Rule::NotBelow => Some(ratio.high >= 1.0),
            Rule::Below => Some(ratio.high < 1.0),
            Rule::AtMost(bound) => Some(ratio.median <= bound),
            Rule::AtLeast(bound) => Some(ratio.median >= bound),
            Rule::LessThan(bound) => Some(ratio.median < bound),
            Rule::Told => None,
        }
    }

    fn text(self) -> String {
        match self {
            Rule::NotAbove => "not above 1.00".to_owned(),
            Rule::NotBelow => "not below 1.00".to_owned(),
            Rule::Below => "below 1.00".to_owned(),
            Rule::AtMost(bound) if bound < 0.1 => format!("at most {bound:.3}"),
            Rule::AtMost(bound) => format!("at most {bound:.2}"),
            Rule::AtLeast(bound) => format!("at least {bound:.2}"),
            Rule::LessThan(bound) => format!("less than {bound:.2}"),
            Rule::Told => "reported".to_owned(),
        }
    }
}

/// A workload's figure of a contender.
type Cell<'id> = (&'id str, Contender);

/// One line of the table.
struct Target {
    group: &'static str,
    what: String,
    rule: Rule,
    pairs: Vec<(f64, f64)>,
}

/// The table of all targets.
pub(super) fn table(results: &Results) -> String {
    let mut targets = Targets { results, list: Vec::new(), group: "" };
    targets.hello();
    targets.pipelined();
    targets.one_connection();
    targets.fixed_rate();
    targets.best_framework();
    targets.node();
    targets.idle();
    targets.workers();
    targets.library();
    targets.files();
    let mut text = String::from(
        "| target | figure | asked for | ratio [95 % interval] | verdict |\n\
         |---|---|---|--:|---|\n",
    );
    for target in &targets.list {
        text += &line(target);
    }
    text
}

fn line(target: &Target) -> String {
    let Target { group, what, rule, pairs } = target;
    let ratio = Ratio::of(pairs).ok();
    let few =
        if pairs.len() < ROUNDS_MIN { format!(" ({} rounds)", pairs.len()) } else { String::new() };
    let verdict = match ratio.as_ref().map(|ratio| rule.met(ratio)) {
        None => "not measured".to_owned(),
        Some(None) => format!("reported{few}"),
        Some(Some(true)) => format!("met{few}"),
        Some(Some(false)) => format!("**missed**{few}"),
    };
    format!("| {group} | {what} | {} | {} | {verdict} |\n", rule.text(), interval(ratio))
}

struct Targets<'results> {
    results: &'results Results,
    list: Vec<Target>,
    group: &'static str,
}

impl Targets<'_> {
    fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// The ratio of a figure in one cell to that in another.
    fn add(&mut self, name: &str, figure: &str, cell: Cell<'_>, other: Cell<'_>, rule: Rule) {
        let by = if cell.1 == other.1 { other.0 } else { other.1.name() };
        let what = format!("{}, {}: {name} / {by}", cell.1.name(), cell.0);
        let pairs = self.results.pairs(figure, cell, other);
        self.list.push(Target { group: self.group, what, rule, pairs });
    }

    fn hello(&mut self) {
        self.group("1 hello, 64 connections");
        for (corelane, bound) in C::CORELANE.into_iter().zip([1.10, 1.15]) {
            let mine = ("hello-64", corelane);
            for framework in C::FRAMEWORKS {
                self.add("CPU", CPU, mine, ("hello-64", framework), Rule::NotAbove);
            }
            self.add("CPU", CPU, mine, ("hello-64", C::Nginx), Rule::Below);
            self.add("CPU", CPU, mine, ("hello-64", C::Uring), Rule::AtMost(bound));
        }
    }

    fn pipelined(&mut self) {
        self.group("2 pipelined");
        for corelane in C::CORELANE {
            let mine = ("pipelined", corelane);
            let rules = [
                (C::Uring, Rule::AtLeast(0.90)),
                (C::ActixWeb, Rule::NotBelow),
                (C::Ntex, Rule::NotBelow),
                (C::MayMinihttp, Rule::Told),
            ];
            for (other, rule) in rules {
                self.add("requests/s", RATE, mine, ("pipelined", other), rule);
            }
        }
    }

    fn one_connection(&mut self) {
        self.group("3 one connection");
        for corelane in C::CORELANE {
            for (name, figure) in [("p50", P50), ("CPU", CPU)] {
                let nginx = ("hello-1", C::Nginx);
                self.add(name, figure, ("hello-1", corelane), nginx, Rule::NotAbove);
            }
        }
    }

    fn fixed_rate(&mut self) {
        self.group("4 at 50 % rate");
        let others = [C::FRAMEWORKS.as_slice(), &[C::Nginx]].concat();
        for corelane in C::CORELANE {
            for &other in &others {
                let (mine, theirs) = (("rate-50", corelane), ("rate-50", other));
                self.add("p99", P99, mine, theirs, Rule::NotAbove);
                self.add("p99.9", P999, mine, theirs, Rule::Told);
            }
        }
    }

    fn best_framework(&mut self) {
        self.group("5 the best framework");
        let workloads = ["new-connection", "json-1k", "json-10k", "echo-4k", "echo-64k", "echo-1m"];
        for id in workloads {
            let median = |it: &Contender| Some(self.results.spread(id, *it, CPU)?.median);
            let measured = C::FRAMEWORKS.iter().filter_map(|it| Some((median(it)?, *it)));
            let best = measured.min_by(|one, other| one.0.total_cmp(&other.0));
            let best = best.map_or(C::FRAMEWORKS[0], |(_, best)| best);
            for corelane in C::CORELANE {
                // A configuration file has no routes that answer with JSON made in a handler.
                if corelane == C::CorelaneLibrary || !id.starts_with("json") {
                    self.add("CPU", CPU, (id, corelane), (id, best), Rule::NotAbove);
                }
            }
        }
    }

    fn node(&mut self) {
        self.group("6 Node");
        for corelane in C::CORELANE {
            for (other, times) in [(C::Node, 1.7), (C::Express, 12.0)] {
                let rule = Rule::AtMost(1.0 / times);
                self.add("CPU", CPU, ("hello-64", corelane), ("hello-64", other), rule);
                let rule = Rule::AtMost(1.0 / 5.0);
                self.add("start", START_MS, ("start", corelane), ("start", other), rule);
                if corelane == C::CorelaneLibrary {
                    self.add("death", DEATH_MS, ("death", corelane), ("death", other), rule);
                }
            }
        }
    }

    fn library(&mut self) {
        self.group("10 the library");
        let mine = C::CorelaneLibrary;
        for id in ["route", "json-1k", "store-1k"] {
            for other in [C::Axum, C::ActixWeb] {
                self.add("CPU", CPU, (id, mine), (id, other), Rule::NotAbove);
            }
        }
        for other in [C::Axum, C::Nginx] {
            self.add("CPU", CPU, ("gzip-64k", mine), ("gzip-64k", other), Rule::NotAbove);
        }
        for other in [C::Axum, C::Tungstenite] {
            self.add("CPU", CPU, ("ws-128", mine), ("ws-128", other), Rule::NotAbove);
        }
        for (id, ours, theirs) in [
            ("example-cluster", C::ExampleCluster, C::OriginalCluster),
            ("example-express", C::ExampleExpress, C::OriginalExpress),
        ] {
            self.add("CPU", CPU, (id, ours), (id, theirs), Rule::NotAbove);
        }
    }

    fn files(&mut self) {
        self.group("11 static files");
        for (id, rule) in [
            ("file-4k", Rule::NotAbove),
            ("file-64k", Rule::NotAbove),
            ("file-1m", Rule::AtMost(1.20)),
        ] {
            for corelane in C::CORELANE {
                self.add("CPU", CPU, (id, corelane), (id, C::Nginx), rule);
                for other in [C::Axum, C::ActixWeb] {
                    self.add("CPU", CPU, (id, corelane), (id, other), Rule::Told);
                }
            }
        }
    }

    fn idle(&mut self) {
        self.group("7 idle connections");
        for corelane in C::CORELANE {
            for framework in C::FRAMEWORKS {
                let theirs = ("idle", framework);
                self.add("bytes", IDLE_BYTES, ("idle", corelane), theirs, Rule::LessThan(1.0));
            }
            let nginx = ("idle", C::Nginx);
            self.add("bytes", IDLE_BYTES, ("idle", corelane), nginx, Rule::AtMost(1.10));
        }
    }

    fn workers(&mut self) {
        self.group("9 more workers");
        let mine = C::CorelaneConfig;
        self.add("CPU", CPU, ("each-16", mine), ("each-1", mine), Rule::AtMost(1.15));
        for id in ["shared-1", "shared-2", "shared-4", "shared-16"] {
            self.add("CPU", CPU, (id, mine), (id, C::Uring), Rule::AtMost(1.10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_holds_one_is_neither_above_nor_below() {
        let ratio = Ratio { median: 1.05, mean: 1.02, low: 0.98, high: 1.07 };
        let met = |rule: Rule| rule.met(&ratio);
        assert_eq!(met(Rule::NotAbove), Some(true));
        assert_eq!(met(Rule::NotBelow), Some(true));
        assert_eq!(met(Rule::Below), Some(false));
        assert_eq!(met(Rule::AtMost(1.04)), Some(false));
        assert_eq!(met(Rule::AtLeast(1.04)), Some(true));
        assert_eq!(met(Rule::Told), None);
    }

    #[test]
    fn an_interval_wholly_on_one_side_is_judged_so() {
        let above = Ratio { median: 1.2, mean: 1.2, low: 1.1, high: 1.3 };
        assert_eq!(Rule::NotAbove.met(&above), Some(false));
        let below = Ratio { median: 0.8, mean: 0.8, low: 0.7, high: 0.9 };
        assert_eq!(Rule::NotBelow.met(&below), Some(false));
        assert_eq!(Rule::Below.met(&below), Some(true));
    }
}
