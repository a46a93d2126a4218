//! The table.

use std::fs;
use std::time::Duration;

use crate::Figures;
use crate::contender::Contender;
use crate::death::{GIVES_UP, LATE, Loss, Recovery};
use crate::evenness::{AT_ONCE, IN_TURN, Spread};

/// Prints what was measured, a column for each contender.
pub(crate) fn print(measured: &[(Contender, Figures)]) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the end {}", load.trim());
    let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        let cells = measured.iter().map(|(_, figures)| format!("{:>24}", cell(figures)));
        println!("{name:<52}{}", cells.collect::<String>());
    };
    let names = measured.iter().map(|(contender, _)| format!("{:>24}", contender.name));
    println!("{:<52}{}", "", names.collect::<String>());
    row("a worker dead, until it answers again, ms", &|it| times(&it.recoveries));
    row("  new connections meanwhile", &|it| sum(&it.recoveries, |one| one.asked));
    row(&format!("  of these closed, or given up after {GIVES_UP:?}"), &|it| {
        sum(&it.recoveries, |one| one.failed)
    });
    row(&format!("  of these not answered within {LATE:?}"), &|it| {
        sum(&it.recoveries, |one| one.late)
    });
    row("  the longest that one took, ms", &|it| {
        let longest = it.recoveries.iter().map(|one| one.longest).max();
        milliseconds(longest.unwrap_or_default())
    });
    row("idle connections lost, of the dead worker's", &|it| lost(&it.idle));
    row("  and of others'", &|it| elsewhere(&it.idle));
    row("requests in flight lost, of the dead worker's", &|it| lost(&it.in_flight));
    row("  and of others'", &|it| elsewhere(&it.in_flight));
    row(&format!("{IN_TURN} connections in turn, most less least"), &|it| widths(&it.in_turn));
    row(&format!("{AT_ONCE} connections at once, most less least"), &|it| widths(&it.at_once));
    println!("A time, and a difference, is a median (least - most).");
}

fn times(recoveries: &[Recovery]) -> String {
    let (least, median, most) = middle(recoveries.iter().map(|one| one.time));
    let [least, median, most] = [least, median, most].map(milliseconds);
    format!("{median} ({least} - {most})")
}

fn widths(spreads: &[Spread]) -> String {
    let (least, median, most) = middle(spreads.iter().map(Spread::width));
    format!("{median} ({least} - {most})")
}

/// The least, the median, the most.
fn middle<T: Ord + Copy + Default>(figures: impl Iterator<Item = T>) -> (T, T, T) {
    let mut figures: Vec<T> = figures.collect();
    figures.sort();
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    (at(0), at(figures.len() / 2), at(figures.len().saturating_sub(1)))
}

fn sum(recoveries: &[Recovery], figure: impl Fn(&Recovery) -> u64) -> String {
    recoveries.iter().map(figure).sum::<u64>().to_string()
}

fn lost(losses: &[Loss]) -> String {
    let there: usize = losses.iter().map(|loss| loss.there).sum();
    format!("{} of {there}", losses.iter().map(|loss| loss.lost_there).sum::<usize>())
}

fn elsewhere(losses: &[Loss]) -> String {
    losses.iter().map(|loss| loss.lost_elsewhere).sum::<usize>().to_string()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
